"""The file of a record: masks, packed, and what was measured of each."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.env.surrogate_check import check_available, read_units
from prune_env.errors import SettingsError
from prune_env.models.masks import Mask
from prune_env.models.units import Units
from prune_env.utils.arrays import ArrayFormat
from prune_env.utils.limits import STATE_BYTES

FORMAT = ArrayFormat("prune-env-record", 2, "record", "record anew")
COLUMN = "column "
LARGEST_MARGIN = 100.0
"""Margins are kept within it; of a text whose logits overflow it is minus that."""
KINDS = ("random", "path", "neighbour")
"""How a mask was drawn."""


@dataclass(frozen=True, eq=False)
class RecordedValues:
    """What was measured under some masks.

    Attributes:
        columns: As of a `MaskTable`.
        margins: Likewise.
    """

    columns: dict[str, npt.NDArray[np.float32]]
    margins: npt.NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class MaskTable:
    """Masks of one model, and what was measured under each.

    Attributes:
        identity: What the values belong to, as plain values.
        available: Bool (L, W), True where there is a unit; of heads alone W is H.
        importance: Float64 (L, W, M), as the metrics give it.
        masks: Bool (N, L, W), True = kept, all different; the first is the unpruned model.
        kinds: uint8 (N,), how each was drawn, an index in `KINDS`.
        families: uint32 (N,), equal for masks that were drawn together, ascending.
        columns: By name, float32 (N,): `accuracy`, `reward NAME`; and, where an attack was named,
            `lfr` and `lfr_calibrated`. Shares, 0 to 1.
        margins: Float16 (N, S), of clean validation texts, at most 500, evenly spaced: the logit
            of the label minus the largest other one.
    """

    identity: dict[str, Any]
    available: Mask
    importance: npt.NDArray[np.float64]
    masks: Mask
    kinds: npt.NDArray[np.uint8]
    families: npt.NDArray[np.uint32]
    columns: dict[str, npt.NDArray[np.float32]]
    margins: npt.NDArray[np.float16]

    @property
    def units(self) -> Units:
        """What the columns of a mask stand for."""
        return read_units(self.identity, self.available)

    def extended(
        self, masks: Mask, measured: RecordedValues, *, kind: int | None = None
    ) -> "MaskTable":
        """Return the record with further masks: a family of a kind, or more of the last one."""
        count, family = len(masks), self.families[-1] + (kind is not None)
        kind = self.kinds[-1] if kind is None else kind
        return MaskTable(
            self.identity,
            self.available,
            self.importance,
            np.concatenate([self.masks, masks]),
            np.concatenate([self.kinds, np.full(count, kind, np.uint8)]),
            np.concatenate([self.families, np.full(count, family, np.uint32)]),
            {
                name: np.concatenate([column, measured.columns[name]])
                for name, column in self.columns.items()
            },
            np.concatenate([self.margins, measured.margins]),
        )

    def first(self, count: int) -> "MaskTable":
        """Return the record of so many of its masks, from the first on."""
        return replace(
            self,
            masks=self.masks[:count],
            kinds=self.kinds[:count],
            families=self.families[:count],
            columns={name: column[:count] for name, column in self.columns.items()},
            margins=self.margins[:count],
        )


def write_record(path: str | Path, record: MaskTable) -> None:
    """Write a record as one compressed .npz, atomically."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "available": record.available,
        "importance": record.importance,
        "masks": np.packbits(record.masks.reshape(len(record.masks), -1), axis=1),
        "kinds": record.kinds,
        "families": record.families,
        "margins": record.margins,
        **{f"{COLUMN}{name}": column for name, column in record.columns.items()},
    }
    FORMAT.write(path, {"identity": record.identity}, arrays)


def read_record(path: str | Path) -> MaskTable:
    """Return what a file holds; nothing in it can run code.

    Raises:
        StateError: There is no such file, or it is damaged or of another kind.
    """
    with FORMAT.reading(path) as (head, held, _):
        available = check_available(held["available"])
        bits = np.unpackbits(held["masks"], axis=1, count=available.size)
        masks = bits.astype(np.bool_).reshape(-1, *available.shape)
        columns = {
            name.removeprefix(COLUMN): column.astype(np.float32)
            for name, column in held.items()
            if name.startswith(COLUMN)
        }
        importance, kinds = held["importance"].astype(np.float64), held["kinds"]
        families, margins = held["families"], held["margins"]
        shapes = {(len(masks),), *(each.shape for each in (kinds, families, *columns.values()))}
        if importance.shape[:2] != available.shape or len(shapes) != 1:
            raise ValueError("its parts are of different lengths")
        if margins.ndim != 2 or len(margins) != len(masks) or margins.dtype != np.float16:
            raise ValueError("its margins are not one of each text a mask")
        steps = np.diff(families.astype(np.int64))
        if families.dtype != np.uint32 or not np.isin(steps, (0, 1)).all():
            raise ValueError("its families do not follow one another")
        if (
            kinds.dtype != np.uint8
            or kinds.max(initial=0) >= len(KINDS)
            or "accuracy" not in columns
        ):
            raise ValueError("its masks are of no known kind, or without accuracy")
        if not isinstance(head["identity"], dict):
            raise ValueError("no facts of what it is")
        read_units(head["identity"], available)
        if families[:1].tolist() != [0] or not margins.shape[1]:
            raise ValueError("without the unpruned model, or without a text")
        _check_masks(masks, available, importance)
        if columns["accuracy"].min() < 0 or columns["accuracy"].max() > 1:
            raise ValueError("an accuracy outside of 0 to 1")
        if not all(np.isfinite(each).all() for each in (margins, *columns.values())):
            raise ValueError("a value that is not finite")
        return MaskTable(
            head["identity"], available, importance, masks, kinds, families, columns, margins
        )


def _check_masks(
    masks: Mask, available: npt.NDArray[np.bool_], importance: npt.NDArray[np.float64]
) -> None:
    """Raise a ValueError unless masks are such as a record draws, and can be drawn further."""
    if not np.array_equal(masks[0], available):
        raise ValueError("its first mask is not the unpruned model")
    if (masks & ~available).any():
        raise ValueError("it keeps what the model does not have")
    if len({mask.tobytes() for mask in masks}) < len(masks):
        raise ValueError("a mask stands twice")
    if importance.ndim != 3 or not np.isfinite(importance[available]).all():
        raise ValueError("an importance that is not finite")


def check_size(table: MaskTable, masks: int) -> None:
    """Raise a `SettingsError` if a record of so many masks could not be read again."""
    each = table.margins[0].nbytes + 4 * len(table.columns) + table.available.size // 8
    if masks * each > STATE_BYTES.value:
        raise SettingsError(
            "A record of so many masks would be too large to be read",
            expected=f"up to {STATE_BYTES.value // each:,}, at {each:,} bytes each",
            actual=f"{masks:,}",
            remedy=f"record fewer, or set {STATE_BYTES.variable}",
        )


def margins_of(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float16]:
    """Return the logit of the label minus the largest other one, (N, S), of logits (N, S, C)."""
    place = labels[None, :, None]
    own = np.take_along_axis(logits, place, axis=2)[..., 0]
    others = logits.copy()
    np.put_along_axis(others, place, -np.inf, axis=2)
    overflows = ~np.isfinite(logits).all(axis=2)
    with np.errstate(invalid="ignore", over="ignore"):
        margins = np.where(overflows, -LARGEST_MARGIN, own - others.max(axis=2))
    return margins.clip(-LARGEST_MARGIN, LARGEST_MARGIN).astype(np.float16)
