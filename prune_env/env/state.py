"""Episodes as data: enough to play one again elsewhere, in files of JSON or CSV."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from prune_env.env.episode_settings import EpisodeSettings
from prune_env.errors import StateError
from prune_env.utils.files import read_json, write_bytes, write_json
from prune_env.utils.limits import STATE_BYTES
from prune_env.utils.reading import read_bounded

FORMAT = "prune-env-states"
VERSION = 1
_LATER = ("end_on_illegal", "success_share", "illegal_penalty")
"""Rules that were added since the first release."""


@dataclass(frozen=True)
class State:
    """An episode: what was played, by which rules, and what came of it.

    Attributes:
        env_id: Id under which the environment was made; empty if it was built from objects.
        kwargs: Its arguments, strings and numbers.
        model: Name of the model that was played, as a reset finds it.
        fingerprint: SHA-256 of its weights, data and evaluator.
        reward: The formula of the reward.
        settings: The rules.
        actions: Every action that was legal, in order.
        pruned: (layer, head) of each head that the mask removes.
        accuracy: On clean validation data under the mask, 0 to 1.
        total_reward: Undiscounted sum of the rewards, without penalties of illegal actions.
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
        settings = values["settings"]
        for name in _LATER:  # releases that do not know them read what does not use them
            if settings[name] == getattr(EpisodeSettings, name):
                del settings[name]
        return values

    @classmethod
    def from_dict(cls, values: Any) -> "State":
        """Return the state whose values `to_dict` gave.

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


def write_states(path: str | Path, states: Iterable[State]) -> None:
    """Write states as a table (`.csv`) or as JSON (any other suffix), atomically."""
    path = Path(path)
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


def read_states(path: str | Path) -> list[State]:
    """Return the states of a file that `write_states` wrote.

    Raises:
        StateError: The file is missing, damaged, or of another format.
    """
    path = Path(path)
    if path.suffix == ".csv":
        try:
            text = read_bounded(path, STATE_BYTES, StateError).decode()
            rows: Any = list(csv.DictReader(io.StringIO(text, newline="")))
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
