"""Playing an episode again, from its state alone, to see whether it comes out equal."""

import json
import math
from dataclasses import dataclass, fields
from typing import Any, Protocol, cast

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from prune_env.env.arguments import ARGUMENTS
from prune_env.env.episode import Episode
from prune_env.env.registration import ENVIRONMENTS
from prune_env.env.rewards.reward import WeightedSum
from prune_env.env.state import State
from prune_env.errors import PruneEnvError, StateError
from prune_env.models.masks import Mask

OUT_OF_RANGE = -1
"""An action that no environment takes."""


class Replayable(Protocol):
    """What is asked of an environment: `HeadPruningEnv` gives it."""

    spec: EnvSpec | None

    @property
    def episode(self) -> Episode:
        """The episode that is being played."""
        ...

    @property
    def available(self) -> Mask:
        """Bool (L, H), True where the model has a head."""
        ...

    @property
    def reward(self) -> WeightedSum:
        """What is paid."""
        ...

    @property
    def total_reward(self) -> float:
        """What the episode has paid so far."""
        ...

    def fork(self) -> "Replayable":
        """Return an independent environment in the same state."""
        ...

    def reset(self, *, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode."""
        ...

    def step(self, action: Any) -> Any:
        """Take one action."""
        ...


@dataclass(frozen=True)
class Validation:
    """What playing a state again has shown.

    Attributes:
        differences: One sentence for everything that differs.
    """

    differences: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def state_of(env: Replayable) -> State:
    """Return the state of the episode that an environment plays."""
    episode = env.episode
    subject = episode.board.subject
    env_id, kwargs = _constructor(env)
    removed = env.available & ~episode.mask
    return State(
        env_id=env_id,
        kwargs=kwargs,
        model=episode.board.name,
        fingerprint=subject.evaluator.fingerprint,
        reward=str(env.reward),
        settings=episode.settings,
        actions=tuple(episode.actions),
        pruned=tuple((layer, head) for layer, head in np.argwhere(removed).tolist()),
        accuracy=episode.accuracy,
        total_reward=env.total_reward,
        evaluations=episode.evaluations,
        ended=episode.ended,
    )


def validate(state: State, env: Replayable | None = None) -> Validation:
    """Play a state again and say what differs.

    Args:
        state: From this process or from anywhere else.
        env: Where to play it; by default an environment made from the state's id and arguments.
            The environment itself is left as it is.

    Raises:
        StateError: It is no state; or no environment is given, and the state does not tell how to
            make one of this package's, or tells it wrongly.
    """
    if not isinstance(state, State):
        raise StateError(
            "This is no state of an episode",
            expected="a State, such as env.state",
            actual=type(state).__name__,
            remedy="State.from_dict makes one of plain values, read_states of a file",
        )
    if env is None:
        env = _make(state)
    replay = env.fork()
    try:
        _play(state, replay)
    except PruneEnvError as error:
        return Validation((str(error),))
    rest = state.actions[len(replay.episode.actions) :]
    refused = (f"action {rest[0]}: {replay.episode.illegal}",) if rest else ()
    return Validation((*_differences(state, replay), *refused))


def restore(state: State, env: Replayable) -> tuple[Any, Any]:
    """Bring an environment into a state; return observation and info of its last action.

    Raises:
        StateError: Played there, the state comes out otherwise; the environment is left as it was.
    """
    found = validate(state, env)
    if not found.ok:
        raise StateError(
            "This environment cannot go on from the state",
            expected="an environment of its model, reward and rules",
            actual="; ".join(found.differences),
            remedy="make one with the arguments that the state tells: state.env_id, state.kwargs",
        )
    return _play(state, env)


def _play(state: State, env: Replayable) -> tuple[Any, Any]:
    """Play the actions of a state until one is refused; return the last observation and info."""
    observation, info = env.reset(options={"model": state.model})
    for action in state.actions:
        observation, _, _, _, info = env.step(action)
        if env.episode.illegal:
            return observation, info
    if state.ended == "illegal":
        # No state says which one it was, and all do the same.
        observation, _, _, _, info = env.step(OUT_OF_RANGE)
    return observation, info


def _make(state: State) -> Replayable:
    """Return a new environment of the id and the arguments that a state tells.

    The state may be a stranger's: Gymnasium imports whatever stands before a colon in an id, so
    only ids of `ENVIRONMENTS` reach it, and only plain values reach the constructor.

    Raises:
        StateError: The id is none of these, or an argument is unknown or of the wrong kind.
    """
    if not state.env_id:
        raise StateError(
            "The state comes from an environment that was built from objects",
            remedy="call validate(state, env) with such an environment",
        )
    if state.env_id not in ENVIRONMENTS:
        raise StateError(
            f"The state's environment {state.env_id!r:.80} is none of this package's",
            expected=f"one of {', '.join(ENVIRONMENTS.names())}",
            remedy="make the environment yourself, if you trust it: validate(state, env)",
        )
    for name, value in state.kwargs.items():
        kinds = ARGUMENTS.get(name, ())
        strings = not isinstance(value, list) or all(type(item) is str for item in value)
        if type(value) not in kinds or not strings:
            kind = ", ".join(each.__name__ for each in kinds)
            raise StateError(
                f"The state gives its environment {name!r:.40} as {value!r:.80}",
                expected=f"a plain value: {kind}" if kinds else f"some of {', '.join(ARGUMENTS)}",
                remedy="take a file written by write_states",
            )
    try:
        return cast(Replayable, gym.make(state.env_id, **state.kwargs).unwrapped)
    except PruneEnvError:
        raise
    except gym.error.Error as error:
        raise StateError(
            f"Gymnasium cannot make {state.env_id}",
            actual=error,
            remedy="call validate(state, env) with an environment that you made",
        ) from None


def _constructor(env: Replayable) -> tuple[str, dict[str, Any]]:
    """Return id and arguments of an environment; empty where they are not plain values."""
    if env.spec is None:
        return "", {}
    kwargs = {name: value for name, value in env.spec.kwargs.items() if name != "render_mode"}
    try:
        return env.spec.id, json.loads(json.dumps(kwargs, default=_own_number))
    except TypeError:
        return "", {}


def _own_number(value: object) -> object:
    """Return a number of NumPy as Python's own, as the environment took it.

    Raises:
        TypeError: It is something else, which JSON does not hold.
    """
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no plain value")


def _differences(state: State, replay: Replayable) -> tuple[str, ...]:
    found = state_of(replay)
    differences = []
    for field in fields(State):
        if field.name in ("env_id", "kwargs", "actions"):
            continue  # how the environment was made does not matter if all else is equal
        told, seen = getattr(state, field.name), getattr(found, field.name)
        equal = (
            math.isclose(told, seen, rel_tol=0, abs_tol=1e-9)
            if isinstance(told, float)
            else told == seen
        )
        if not equal:
            differences.append(f"{field.name}: the state says {told}, the replay {seen}")
    return tuple(differences)
