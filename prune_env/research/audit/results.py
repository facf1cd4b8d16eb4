"""One file with everything that an audit measured of its masks, complete after every block."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.errors import StateError
from prune_env.models.masks import Mask
from prune_env.research.audit.correlation import Values
from prune_env.research.audit.masks import Draw
from prune_env.research.precision import check_precision
from prune_env.utils.files import read_json, write_json
from prune_env.utils.limits import ARRAY_BYTES, MOST_SIDE, require_count
from prune_env.utils.plain import check_same

FORMAT = "prune-env-audit"
VERSION = 1
REWARD = "reward "
"""What the names of the columns of rewards begin with."""

CODE = "code"
"""In the identity, by reward: the code of others that pays, as text; none is this package's."""


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
            identity: What the values belong to; `CODE` holds the rewards of this call alone.
            draw: Draws the masks, if there is no file.

        Raises:
            StateError: The file belongs to another audit, or is damaged.
        """
        identity = json.loads(json.dumps(identity))  # as it is read back: tuples become lists
        if not path.exists():
            return cls(path, identity, draw(), {})
        held = cls.read(path)
        asked, begun = identity.get(CODE, {}), held._identity[CODE]
        # What no value was computed with may change; nor does an older file say all.
        codes = {name: begun[name] for name in begun if held.done(f"{REWARD}{name}")}
        same = {CODE: codes | {name: asked[name] for name in asked if name in codes}}
        check_precision(path, identity, held._identity)
        check_same(path, "audit", identity | same, identity | held._identity | {CODE: codes})
        new = {name: asked[name] for name in asked if not held.done(f"{REWARD}{name}")}
        held._identity[CODE] = codes | new
        return held

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Return what a file holds.

        Args:
            path: The JSON file.

        Raises:
            StateError: There is no such file, or it is damaged.
        """
        if not path.is_file():
            raise StateError(
                f"{path.parent} is no run folder of `prune-env audit`",
                expected=f"a folder that holds {path.name}",
                remedy="name the --out of an audit",
            )
        value = read_json(path)
        try:
            if (value["format"], value["version"]) != (FORMAT, VERSION):
                raise ValueError(f"{value['format']} {value['version']}")
            identity = dict(value["identity"])
            identity[CODE] = dict(identity.get(CODE, {}))
            masks = _masks(value["shape"], value["pruned"], f"{path} holds too many masks")
            columns = {
                name: _column(name, column, len(masks)) for name, column in value["columns"].items()
            }
            sources = tuple(map(str, value["sources"]))
            if len(sources) != len(masks):
                raise ValueError(f"{len(sources)} sources of {len(masks)} masks")
        except (
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
            IndexError,
            OverflowError,
        ) as error:
            raise StateError(
                f"{path} is no file of an audit",
                actual=f"no {error}" if isinstance(error, KeyError) else error,
                remedy="choose another folder",
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


def _masks(shape: Any, pruned: Any, too_many: str) -> Mask:
    """Return masks, bool (N, L, H), from the heads that each prunes, counted through all layers.

    Args:
        shape: L and H, as a file claims them: nothing of that size is there yet.
        pruned: N lists of heads.
        too_many: What is said where the masks would be larger than the limit of arrays.

    Raises:
        StateError: They would be.
        ValueError: No model has this shape, or no such head.
    """
    layers, heads = (require_count(each, 1, MOST_SIDE) for each in shape)
    ARRAY_BYTES.check(len(pruned) * layers * heads, too_many, StateError)
    masks = np.ones((len(pruned), layers * heads), np.bool_)
    for mask, each in zip(masks, pruned, strict=True):
        mask[[require_count(head, 0, mask.size - 1) for head in each]] = False
    return masks.reshape(-1, layers, heads)


def _column(name: str, column: Any, most: int) -> list[float]:
    """Return values of the first masks, or raise a ValueError.

    Rewards may be of anybody: one that is not finite is named where it is combined.
    """
    values = [float(number) for number in column]
    if len(values) > most:
        raise ValueError(f"{len(values):,} values of {most:,} masks")
    if not name.startswith(REWARD) and not np.isfinite(values).all():
        raise ValueError(f"{name!r:.40} is not finite")
    return values
