"""Whether what a surrogate's file holds fits together: the file may be a stranger's."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.models.masks import Mask
from prune_env.models.units import Units

MOST = 1_000
"""Layers, and heads of a layer, as of any model."""
GREATEST = 1e9
"""Of any number that is played with, either sign."""

Arrays = Mapping[str, npt.NDArray[Any]]


def check_surrogate(arrays: Arrays, facts: Mapping[str, Any]) -> None:
    """Raise unless every mask can be asked, and every answer will be a finite number.

    Args:
        arrays: What the file holds, see `RecordedEvaluator`.
        facts: What it tells of itself.

    Raises:
        ValueError: What does not fit; the same for whatever is missing: a `LookupError`.
    """
    available = check_available(arrays["available"])
    read_units(facts, available)
    metrics, columns = _names(facts, "metrics"), _names(facts, "columns")
    _require("accuracy" in columns, "no accuracy among its columns")
    scale = facts["scale"]
    _require(type(scale) in (int, float) and 0 < scale < np.inf, f"a scale of {scale!r:.40}")
    masks = arrays["masks"]
    count = len(masks) if masks.ndim else 0
    _require(count > 0 and masks.dtype == np.uint8, "no masks")
    _require(masks.shape == (count, -(-available.size // 8)), "masks of another model")
    modes = _check_margins(arrays) if "modes" in arrays else 0
    for name, shape in (
        ("importance", (*available.shape, len(metrics))),
        ("weights", (count, len(columns) + modes)),
        ("statistics", (3, len(columns))),
    ):
        found = arrays[name].shape
        _require(found == shape, f"{name} of shape {found}, where {shape} fits the rest")
        _require(_sane(arrays[name]), f"{name} that are not finite, or huge")
    _, least, greatest = arrays["statistics"]
    _require(bool((least <= greatest).all()), "a least value above the greatest")
    place = columns.index("accuracy")
    _require(least[place] >= 0 and greatest[place] <= 1, "an accuracy outside of 0 to 1")


def _check_margins(arrays: Arrays) -> int:
    """Return the number of modes of the margins; files of version 1 have none."""
    margins, modes = arrays["margins"], arrays["modes"]
    _require(modes.ndim == 2, "modes that are no table")
    fits = (2, modes.shape[1])
    _require(
        margins.shape == fits, f"margins of shape {margins.shape}, where {fits} fits the modes"
    )
    _require(modes.shape[1] > 0, "margins of no text")
    _require(_sane(margins) and _sane(modes), "margins that are not finite, or huge")
    _require(bool((margins[1] > 0).all()), "a spread of 0 or less")
    offset = arrays["offset"]
    _require(offset.shape == (1,) and bool(np.isfinite(offset).all()), "no offset of its accuracy")
    return len(modes)


def read_units(facts: Mapping[str, Any], available: Mask) -> Units:
    """Return what the columns of a record's masks stand for, as it tells; if it does not, heads.

    Raises:
        ValueError: What it tells does not make so many columns.
    """
    counts = facts.get("units")
    if counts is None:
        return Units.of_heads(available)
    _require(isinstance(counts, dict), "units that are no counts")
    return Units.of_counts(available, counts)


def check_available(available: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which heads a model has, bool (L, H).

    Raises:
        ValueError: It is no table of sane size with a head in it.
    """
    _require(available.ndim == 2 and max(available.shape) <= MOST, "no layers and heads")
    heads = available.astype(np.bool_)
    _require(bool(heads.any()), "no head")
    return heads


def _names(facts: Mapping[str, Any], key: str) -> list[str]:
    names = facts[key]
    plain = isinstance(names, list) and all(type(name) is str for name in names)
    _require(plain and len(set(names)) == len(names), f"{key} that are no list of names")
    return list(names)


def _sane(values: npt.NDArray[Any]) -> bool:
    """Return whether sums of products of such numbers are finite numbers."""
    return bool((np.abs(values) <= GREATEST).all())


def _require(held: bool, otherwise: str) -> None:
    if not held:
        raise ValueError(otherwise)
