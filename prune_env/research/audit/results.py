"""One file with everything that an audit measured of its masks, complete after every block."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.errors import StateError
from prune_env.research.audit.masks import Draw
from prune_env.utils.files import read_json, write_json

Values = npt.NDArray[np.float64]
FORMAT = "prune-env-audit"
VERSION = 1
REWARD = "reward "
"""What the names of the columns of rewards begin with."""


class Results:
    """Masks, and columns of values that grow from the first mask on.

    Args:
        path: The JSON file.
        identity: What the values belong to, as plain values.
        draw: The masks.
        columns: By name, the values of the first masks.
    """

    def __init__(
        self, path: Path, identity: dict[str, Any], draw: Draw, columns: dict[str, list[float]]
    ) -> None:
        self.path = path
        self._identity = identity
        self._columns = columns
        self.masks = draw.masks
        self.sources = draw.sources

    @classmethod
    def open(cls, path: Path, identity: dict[str, Any], draw: Callable[[], Draw]) -> "Results":
        """Return what the file holds, or new results if there is no file.

        Args:
            path: The JSON file.
            identity: What the values belong to.
            draw: Draws the masks, if there is no file.

        Raises:
            StateError: The file belongs to another audit, or is damaged.
        """
        identity = json.loads(json.dumps(identity))  # as it is read back: tuples become lists
        if not path.exists():
            return cls(path, identity, draw(), {})
        held = cls.read(path)
        if held._identity != identity:
            raise StateError(
                f"{path} belongs to another audit",
                expected=identity,
                actual=held._identity,
                remedy="give the arguments it was begun with, or choose another --out",
            )
        return held

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Return what a file holds.

        Args:
            path: The JSON file.

        Raises:
            StateError: There is no such file, or it is damaged.
        """
        value = read_json(path)
        try:
            if (value["format"], value["version"]) != (FORMAT, VERSION):
                raise ValueError(f"{value['format']} {value['version']}")
            identity, shape = value["identity"], tuple(value["shape"])
            masks = np.ones((len(value["pruned"]), *shape), np.bool_)
            for mask, heads in zip(masks, value["pruned"], strict=True):
                mask.flat[heads] = False
            columns = {
                str(name): [float(number) for number in column]
                for name, column in value["columns"].items()
            }
            sources = tuple(map(str, value["sources"]))
        except (
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
            IndexError,
            OverflowError,
        ) as error:
            raise StateError(
                f"{path} is no file of an audit", actual=error, remedy="choose another folder"
            ) from None
        return cls(path, identity, Draw(masks, sources), columns)

    @property
    def rewards(self) -> dict[str, Values]:
        """By name, the values (N,) of each reward that was computed of every mask."""
        return {
            name.removeprefix(REWARD): self.column(name)
            for name, column in self._columns.items()
            if name.startswith(REWARD) and len(column) == len(self.masks)
        }

    def done(self, name: str) -> int:
        """Return of how many masks a value of this name is known."""
        return len(self._columns.get(name, ()))

    def column(self, name: str) -> Values:
        """Return the values of this name, float64 (N,)."""
        return np.array(self._columns[name], np.float64)

    def extend(self, values: dict[str, Values]) -> None:
        """Add values of the next masks, and write the file."""
        for name, column in values.items():
            self._columns.setdefault(name, []).extend(column.tolist())
        value = {
            "format": FORMAT,
            "version": VERSION,
            "identity": self._identity,
            "shape": list(self.masks.shape[1:]),
            "sources": list(self.sources),
            "pruned": [np.flatnonzero(~mask).tolist() for mask in self.masks],
            "columns": self._columns,
        }
        write_json(self.path, value)
