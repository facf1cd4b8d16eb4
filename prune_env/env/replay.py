"""Episodes as data: enough to play one again elsewhere and to see whether it comes out equal."""

import csv
import io
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from prune_env.env.episode import EpisodeSettings
from prune_env.env.registration import ENVIRONMENTS
from prune_env.errors import PruneEnvError, StateError
from prune_env.utils.files import read_json, write_bytes, write_json

if TYPE_CHECKING:
    from prune_env.env.head_pruning_env import HeadPruningEnv

FORMAT = "prune-env-states"
VERSION = 1

_ARGUMENTS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("model", "data"), (str, NoneType)),
    **dict.fromkeys(("metrics", "observation"), (str, list)),
    **dict.fromkeys(("prune_step", "min_heads_per_layer"), (int,)),
    **{"pool": (list, NoneType), "reward": (str,), "backtrack": (bool,)},
    **{"tau": (int, float, NoneType), "max_drop": (int, float), "max_evaluations": (int, NoneType)},
}
"""Arguments of `HeadPruningEnv` that a file may give, and what each may be; lists hold strings."""


@dataclass(frozen=True)
class State:
    """An episode: what was played, by which rules, and what came of it.

    Attributes:
        env_id: Id under which the environment was made; empty if it was built from objects.
        kwargs: Its arguments, strings and numbers.
        model: Name of the model that was played.
        fingerprint: SHA-256 of its weights, data and evaluator.
        reward: The formula of the reward.
        settings: The rules.
        actions: Every action that was legal, in order.
        pruned: (layer, head) of each head that the mask removes.
        accuracy: On clean validation data under the mask, 0 to 1.
        total_reward: Undiscounted sum of the rewards.
        evaluations: Masks scored.
        ended: Why the episode ended; empty if it was still running.
    """

    env_id: str
    kwargs: dict[str, Any]
    model: str
    fingerprint: str
    reward: str
    settings: EpisodeSettings
    actions: tuple[int, ...]
    pruned: tuple[tuple[int, int], ...]
    accuracy: float
    total_reward: float
    evaluations: int
    ended: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON holds them."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    @classmethod
    def from_dict(cls, values: Any) -> "State":
        """Return the state that `to_dict` described.

        Raises:
            StateError: A value is missing, unknown or of the wrong kind.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(values, dict) or set(values) != set(names):
            raise StateError(
                "This is no state of an episode",
                expected=f"the keys {', '.join(names)}",
                actual=", ".join(values) if isinstance(values, dict) else type(values).__name__,
                remedy="take a file written by write_states",
            )
        try:
            return cls(
                env_id=str(values["env_id"]),
                kwargs=dict(values["kwargs"]),
                model=str(values["model"]),
                fingerprint=str(values["fingerprint"]),
                reward=str(values["reward"]),
                settings=EpisodeSettings(**values["settings"]),
                actions=tuple(int(action) for action in values["actions"]),
                pruned=tuple((int(layer), int(head)) for layer, head in values["pruned"]),
                accuracy=float(values["accuracy"]),
                total_reward=float(values["total_reward"]),
                evaluations=int(values["evaluations"]),
                ended=str(values["ended"]),
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise StateError(
                "A value of the state is of the wrong kind",
                actual=error,
                remedy="take a file written by write_states",
            ) from None


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


def state_of(env: "HeadPruningEnv") -> State:
    """Return the state of the episode that an environment plays."""
    episode = env.episode
    subject = episode.board.subject
    env_id, kwargs = _constructor(env)
    removed = env.available & ~episode.mask
    return State(
        env_id=env_id,
        kwargs=kwargs,
        model=subject.name,
        fingerprint=subject.evaluator.fingerprint,
        reward=str(env.reward),
        settings=episode.settings,
        actions=tuple(episode.actions),
        pruned=tuple((layer, head) for layer, head in np.argwhere(removed).tolist()),
        accuracy=episode.accuracy,
        total_reward=env.core.total_reward(0),
        evaluations=episode.evaluations,
        ended=episode.ended,
    )


def validate(state: State, env: "HeadPruningEnv | None" = None) -> Validation:
    """Play a state again and say what differs.

    Args:
        state: From this process or from anywhere else.
        env: Where to play it; by default an environment made from the state's id and arguments.
            The environment itself is left as it is.

    Raises:
        StateError: No environment is given, and the state does not tell how to make one of this
            package's, or tells it wrongly.
    """
    if env is None:
        env = _make(state)
    replay = env.fork()
    try:
        replay.reset(options={"model": state.model})
        for action in state.actions:
            replay.step(action)
            if replay.episode.illegal:
                return Validation(
                    (*_differences(state, replay), f"action {action}: {replay.episode.illegal}")
                )
    except PruneEnvError as error:
        return Validation((str(error),))
    return Validation(_differences(state, replay))


def write_states(path: Path, states: Iterable[State]) -> None:
    """Write states as a table (`.csv`) or as JSON (any other suffix), atomically."""
    rows = [state.to_dict() for state in states]
    if path.suffix != ".csv":
        write_json(path, {"format": FORMAT, "version": VERSION, "states": rows})
        return
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, [field.name for field in fields(State)])
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _to_cell(value) for name, value in row.items()})
    write_bytes(path, table.getvalue().encode())


def read_states(path: Path) -> list[State]:
    """Return the states of a file that `write_states` wrote.

    Raises:
        StateError: The file is missing, damaged, or of another format.
    """
    if path.suffix == ".csv":
        try:
            rows: Any = list(csv.DictReader(io.StringIO(path.read_text("utf-8"), newline="")))
            rows = [{name: _from_cell(name, cell) for name, cell in row.items()} for row in rows]
        except (OSError, ValueError, TypeError, RecursionError, csv.Error) as error:
            raise StateError(
                f"{path} holds no states", actual=error, remedy="check the path"
            ) from None
    else:
        content = read_json(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise StateError(f"{path} holds no states", expected=f'"format": "{FORMAT}"')
        if content.get("version") != VERSION:
            raise StateError(
                f"{path} is of another version",
                expected=VERSION,
                actual=content.get("version"),
                remedy="read it with the release that wrote it",
            )
        rows = content.get("states")
    if not isinstance(rows, list):
        raise StateError(f"{path} holds no list of states")
    return [State.from_dict(row) for row in rows]


_TEXT = ("env_id", "model", "fingerprint", "reward", "ended")


def _to_cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _from_cell(name: str, cell: str) -> Any:
    return cell if name in _TEXT else json.loads(cell)


def _make(state: State) -> "HeadPruningEnv":
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
        kinds = _ARGUMENTS.get(name, ())
        strings = not isinstance(value, list) or all(type(item) is str for item in value)
        if type(value) not in kinds or not strings:
            kind = ", ".join(each.__name__ for each in kinds)
            raise StateError(
                f"The state gives its environment {name!r:.40} as {value!r:.80}",
                expected=f"a plain value: {kind}" if kinds else f"some of {', '.join(_ARGUMENTS)}",
                remedy="take a file written by write_states",
            )
    try:
        made: HeadPruningEnv = gym.make(state.env_id, **state.kwargs).unwrapped  # type: ignore[assignment]
    except gym.error.Error as error:
        raise StateError(
            f"Gymnasium cannot make {state.env_id}",
            actual=error,
            remedy="call validate(state, env) with an environment that you made",
        ) from None
    return made


def _constructor(env: "HeadPruningEnv") -> tuple[str, dict[str, Any]]:
    """Return id and arguments of an environment; empty where they are not plain values."""
    if env.spec is None:
        return "", {}
    kwargs = {name: value for name, value in env.spec.kwargs.items() if name != "render_mode"}
    try:
        return env.spec.id, json.loads(json.dumps(kwargs))
    except TypeError:
        return "", {}


def _differences(state: State, replay: "HeadPruningEnv") -> tuple[str, ...]:
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
