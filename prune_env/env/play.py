"""One episode, played by a policy."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, cast

import gymnasium as gym
import numpy as np

from prune_env.env.policy import Policy
from prune_env.errors import SettingsError

PATIENCE = 100
"""Illegal actions in a row after which a policy is taken to choose nothing else."""


class PlayedStep(NamedTuple):
    """A step of an episode.

    Attributes:
        action: What the policy chose.
        reward: What was paid for it.
        info: What the environment tells after it.
    """

    action: int
    reward: float
    info: dict[str, Any]


def play_steps(
    env: gym.Env[Any, Any],
    policy: Policy,
    *,
    seed: int,
    options: dict[str, Any] | None = None,
    deterministic: bool = True,
) -> Iterator[PlayedStep]:
    """Play an episode, to its end or until nobody asks for the next step.

    Args:
        env: A `HeadPruningEnv`, wrapped or not.
        policy: Chooses the actions.
        seed: Of the episode.
        options: Of its reset.
        deterministic: Whether the policy takes what it thinks best, or explores.

    Yields:
        Every step, after it was taken.

    Raises:
        BudgetError: A step asked for more evaluations than are allowed.
        SettingsError: The policy keeps choosing what is not legal, which changes nothing, answers
            with something else than a whole number and a state, or has no `predict`.
    """
    predict = _predict_of(policy)
    observation, info = env.reset(seed=seed, options=options)
    state, start, done = None, True, False
    illegal = 0
    while not done:
        legal = info["action_mask"].astype(bool)
        answer = predict(
            observation,
            state,
            episode_start=np.array([start]),
            deterministic=deterministic,
            action_masks=legal,
        )
        action, state = _taken_apart(policy, answer)
        illegal = 0 if 0 <= action < len(legal) and legal[action] else illegal + 1
        if illegal > PATIENCE:
            raise SettingsError(
                f"The policy chose an illegal action {PATIENCE} times in a row",
                expected=f"one that action_mask allows, such as {int(np.argmax(legal))}",
                actual=f"{action}, of {_name(policy)}",
                remedy="a policy chooses among the legal actions; see docs/extend.md",
            )
        observation, reward, terminated, truncated, info = env.step(action)
        start, done = False, terminated or truncated
        yield PlayedStep(action, float(reward), info)


def _taken_apart(policy: object, answer: Any) -> tuple[int, Any]:
    """Return the action and the state that a policy answered with; it may be anybody's.

    A float is an action if it is whole: cut to one, 0.7 would prune a head that nobody chose.

    Raises:
        SettingsError: The answer is another thing.
    """
    with suppress(ValueError):  # a ragged list
        if isinstance(answer, tuple | list) and len(answer) == 2:
            action = np.asarray(answer[0])
            whole = action.size == 1 and action.dtype.kind in "iuf" and not action.item() % 1
            if whole:
                return int(action.item()), answer[1]
    raise SettingsError(
        f"{_name(policy)} answers with no action",
        expected="(action, state): a tuple of a whole number and of what is handed in next time",
        actual=f"{answer!r:.200} ({type(answer).__name__})",
        remedy="correct its method `predict`; see docs/extend.md",
    )


def _predict_of(policy: Any) -> Callable[..., Any]:
    """Return the method of a policy; raise a `SettingsError` if it has none."""
    predict = getattr(policy, "predict", None)
    if not callable(predict):
        raise SettingsError(
            f"{_name(policy)} is no policy",
            expected="an object with `predict`",
            actual=f"{policy!r:.200}",
            remedy="see docs/extend.md",
        )
    return cast(Callable[..., Any], predict)


def _name(policy: object) -> str:
    """Return the class of a policy, with the package that it comes from."""
    return f"{type(policy).__module__}.{type(policy).__qualname__}"
