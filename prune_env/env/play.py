"""One episode, played by a policy."""

from collections.abc import Iterator
from typing import Any, NamedTuple

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
        SettingsError: The policy keeps choosing what is not legal, which changes nothing.
    """
    observation, info = env.reset(seed=seed, options=options)
    state, start, done = None, True, False
    illegal = 0
    while not done:
        legal = info["action_mask"].astype(bool)
        action, state = policy.predict(
            observation,
            state,
            episode_start=np.array([start]),
            deterministic=deterministic,
            action_masks=legal,
        )
        illegal = 0 if 0 <= int(action) < len(legal) and legal[int(action)] else illegal + 1
        if illegal > PATIENCE:
            raise SettingsError(
                f"The policy chose an illegal action {PATIENCE} times in a row",
                expected=f"one that action_mask allows, such as {int(np.argmax(legal))}",
                actual=int(action),
                remedy="a policy chooses among the legal actions; see docs/extend.md",
            )
        observation, reward, terminated, truncated, info = env.step(int(action))
        start, done = False, terminated or truncated
        yield PlayedStep(int(action), float(reward), info)
