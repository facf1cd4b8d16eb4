"""Files of masks that choose from all units of a model."""

from pathlib import Path
from typing import Any

import numpy as np

from prune_env.errors import SettingsError, StateError
from prune_env.models.masks import (
    MASK_FORMAT,
    NUMBER,
    UNIT_MASK_VERSION,
    Mask,
    mask_content,
    parse_mask,
)
from prune_env.models.unit_map import UnitMap
from prune_env.models.units import Units
from prune_env.utils.files import write_json


def save_unit_mask(path: Path, mask: Mask, unit_map: UnitMap, **meta: Any) -> None:
    """Write a mask of units as JSON, atomically.

    It holds what version 1 holds of the heads, and of every layer which groups of neurons are
    closed and with how many steps each map is refitted.

    Args:
        path: File to write or replace.
        mask: Bool (L, W), True = kept.
        unit_map: The units; a reader needs those of the same model, data and settings.
        **meta: JSON values that say where the mask comes from.
    """
    units, settings = unit_map.units, unit_map.settings
    groups = units.available & ~mask
    closed = [np.flatnonzero(row).tolist() for row in units.group_part(groups)]
    steps = [
        {str(index): steps for index, steps in enumerate(row) if steps}
        for row in units.step_part(groups).sum(-1).tolist()
    ]
    content = mask_content(units.head_part(mask), **meta)
    content["version"] = UNIT_MASK_VERSION
    content["units"] = {
        "groups": settings.groups,
        "strengths": list(settings.strengths),
        "sha256": unit_map.sha256,
        "neurons": {str(layer): each for layer, each in enumerate(closed) if each},
        "maps": {str(layer): each for layer, each in enumerate(steps) if each},
    }
    write_json(path, content)


def parse_unit_mask(content: Any, path: Path, unit_map: UnitMap) -> Mask:
    """Return the mask that a file holds, of units, or of heads alone, which keeps the others.

    Args:
        content: JSON value of a file of `save_unit_mask`, or of one that `load_mask` reads.
        path: Where it stands, for messages.
        unit_map: The units of the model.

    Returns:
        Bool (L, W), True = kept.

    Raises:
        StateError: It is damaged, or of another kind.
        SettingsError: It was made for other units.
    """
    units = unit_map.units
    mask = units.available.copy()
    heads = (units.shape[0], units.heads)
    if not isinstance(content, dict) or content.get("version") != UNIT_MASK_VERSION:
        mask[:, : units.heads] &= parse_mask(content, path, heads)
        return mask
    told = content.get("units")
    digest = told.get("sha256") if isinstance(told, dict) else None
    if digest != unit_map.sha256:
        raise SettingsError(
            f"{path} was made for other units than those of this model",
            expected=f"units with SHA-256 {unit_map.sha256}",
            actual=f"{digest!r:.80}",
            remedy="give the same clean training data and settings as for the mask",
        )
    try:
        _prune(mask, content, units)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StateError(
            f"{path} is not a mask file of units",
            expected=f"{MASK_FORMAT} version {UNIT_MASK_VERSION}",
            actual=f"{type(error).__name__}: {error}",
            remedy="use the mask.json that `prune-env purify --units hybrid` wrote",
        ) from None
    return mask


def _prune(mask: Mask, content: dict[str, Any], units: Units) -> None:
    """Prune from a mask (L, W), in place, what a file tells."""
    told = content["units"]
    for layer, pruned in _rows(content["pruned"], units.shape[0]):
        mask[layer, _places(pruned, units.heads)] = False
    for layer, closed in _rows(told["neurons"], units.shape[0]):
        mask[layer, units.heads + _places(closed, units.groups)] = False
    for layer, maps in _rows(told["maps"], units.shape[0]):
        for index, steps in _rows(maps, units.maps):
            columns = units.columns_of(index)
            taken = _places([steps], units.steps + 1)[0]
            mask[layer, columns.start : columns.start + taken] = False


def _rows(entries: dict[str, Any], count: int) -> list[tuple[int, Any]]:
    """Return the entries of an object by number, below `count`."""
    numbers = [int(name) if NUMBER.fullmatch(name) else count for name in entries]
    _places(numbers, count)
    return list(zip(numbers, entries.values(), strict=True))


def _places(values: list[Any], count: int) -> Any:
    """Return numbers from 0 up to `count`, int64 (n,)."""
    if not all(type(value) is int and 0 <= value < count for value in values):
        raise ValueError(f"{values!r:.80} where numbers below {count} should be")
    return np.array(values, np.int64)
