"""Head masks: making, checking, writing and reading them. True = kept, everywhere."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.errors import SettingsError, StateError
from prune_env.utils.files import read_json, write_json

Mask = npt.NDArray[np.bool_]

MASK_FORMAT = "prune-env-mask"
MASK_VERSION = 1
UNIT_MASK_VERSION = 2
"""Of a mask that chooses from other units too, see `prune_env.models.unit_masks`."""


def full_mask(shape: tuple[int, int]) -> Mask:
    """Return a mask of `shape` (L, H) that keeps every head."""
    return np.ones(shape, dtype=bool)


def validate_mask(mask: npt.ArrayLike, shape: tuple[int, int]) -> Mask:
    """Return `mask` as a new bool array of exactly `shape`.

    Args:
        mask: (L, H), True or 1 = kept, False or 0 = pruned.
        shape: Layers and heads of the model.

    Raises:
        SettingsError: Another shape, or a value that is neither true nor false.
    """
    array = np.asarray(mask)
    if array.shape != tuple(shape):
        raise SettingsError(
            "The mask does not fit the model",
            expected=f"shape {tuple(shape)} (layers, heads)",
            actual=f"shape {array.shape}",
            remedy="use a mask that was made for this model",
        )
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        raise SettingsError(
            "A mask holds only true (kept) and false (pruned)",
            expected="bool, or 0 and 1",
            actual=f"{array.dtype} with other values",
            remedy="threshold the scores first",
        )
    return array.astype(bool)


NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
"""Of a layer, as JSON writes it: the name of an entry. With `00` beside `0` one could be two."""


def save_mask(path: str | Path, mask: npt.ArrayLike, **meta: Any) -> None:
    """Write a mask as JSON, atomically.

    Args:
        path: File to write or replace.
        mask: Bool (L, H), True = kept.
        **meta: JSON values that say where the mask comes from (policy, model hash, ...).
    """
    write_json(Path(path), mask_content(mask, **meta))


def pruned_heads(mask: Mask) -> dict[str, list[int]]:
    """Return the heads that a mask (L, H) prunes, by layer, as `without_heads` takes them."""
    pruned = {str(layer): np.flatnonzero(~row).tolist() for layer, row in enumerate(mask)}
    return {layer: heads for layer, heads in pruned.items() if heads}


def mask_content(mask: npt.ArrayLike, **meta: Any) -> dict[str, Any]:
    """Return what a mask file holds; arguments as those of `save_mask`."""
    array = np.asarray(mask)
    kept = validate_mask(array, (array.shape[0], array.shape[1]))
    return {
        "format": MASK_FORMAT,
        "version": MASK_VERSION,
        "layers": kept.shape[0],
        "heads": kept.shape[1],
        "pruned": pruned_heads(kept),
        "meta": meta,
    }


def oracle_mark(oracle: bool) -> dict[str, bool]:
    """Return what the meta of a mask file says of a mask that was chosen by the trigger itself.

    A defender does not have it, so what such a mask makes of a model is no defence.
    """
    return {"oracle": True} if oracle else {}


def oracle_mark_of(content: Any) -> dict[str, bool]:
    """Return the `oracle_mark` of a mask file, given by its JSON value; older ones have none."""
    meta = content.get("meta") if isinstance(content, dict) else None
    return oracle_mark(isinstance(meta, dict) and meta.get("oracle") is True)


def load_mask(path: str | Path, shape: tuple[int, int] | None = None) -> Mask:
    """Read a mask file of this package, or one of PURE's, `{"layer": [pruned heads]}`.

    Args:
        path: JSON file.
        shape: Layers and heads of the model; needed for PURE's files, which do not say theirs,
            and checked against the file's own otherwise.

    Returns:
        Bool (L, H), True = kept.

    Raises:
        StateError: The file is missing, damaged, of another kind or of a newer version.
        SettingsError: The mask does not fit `shape`, or `shape` is needed and missing.
    """
    return parse_mask(read_json(Path(path)), path, shape)


def parse_mask(content: Any, path: str | Path, shape: tuple[int, int] | None = None) -> Mask:
    """Return the mask that a file holds, for who reads more of it than that.

    Args:
        content: The file's JSON value.
        path: Where it stands, for messages.
        shape: As `load_mask` takes it.

    Returns:
        Bool (L, H), True = kept.

    Raises:
        StateError: It is of another kind or of a newer version.
        SettingsError: The mask does not fit `shape`, or `shape` is needed and missing.
    """
    if not isinstance(content, dict):
        raise _not_a_mask(path, f"a JSON {type(content).__name__}")
    if "format" in content:
        if content.get("version") == UNIT_MASK_VERSION and "units" in content:
            raise StateError(
                f"{path} is a mask of heads, neurons and maps",
                expected="a mask of heads alone",
                remedy="purify with --units hybrid",
            )
        if content["format"] != MASK_FORMAT or content.get("version") != MASK_VERSION:
            raise _not_a_mask(path, f"{content['format']} version {content.get('version')}")
        own = (content.get("layers"), content.get("heads"))
        if not all(type(size) is int and 0 < size <= 10_000 for size in own):
            raise _not_a_mask(path, f"layers and heads {own}")
        mask = without_heads(path, content.get("pruned"), (content["layers"], content["heads"]))
        return mask if shape is None else validate_mask(mask, shape)
    if shape is None:
        raise SettingsError(
            f"{path} does not say how many layers and heads its model has",
            remedy="give the shape of the model, (layers, heads)",
        )
    return without_heads(path, content, shape)


def without_heads(path: str | Path, pruned: Any, shape: tuple[int, int]) -> Mask:
    """Return a full mask less the heads in `{"layer": [heads]}`.

    Args:
        path: Where it stands, for messages.
        pruned: As a file has it.
        shape: Layers and heads of the model.

    Raises:
        StateError: It has another form.
        SettingsError: There is no such head.
    """
    if not isinstance(pruned, dict):
        raise _not_a_mask(path, f"a JSON {type(pruned).__name__} of pruned heads")
    mask = full_mask(shape)
    for layer, heads in pruned.items():
        if not (NUMBER.fullmatch(layer) and isinstance(heads, list)):
            raise _not_a_mask(path, f"{layer!r:.40}: {json.dumps(heads):.40}")
        for head in heads:
            if type(head) is not int or not (int(layer) < shape[0] and 0 <= head < shape[1]):
                raise SettingsError(
                    f"{path} prunes head {head!r:.40} of layer {layer:.40}",
                    expected=f"layers 0 to {shape[0] - 1}, heads 0 to {shape[1] - 1}",
                    remedy="use a mask that was made for this model",
                )
            mask[int(layer), head] = False
    return mask


def _not_a_mask(path: str | Path, actual: str) -> StateError:
    return StateError(
        f"{path} is not a mask file",
        expected=f"{MASK_FORMAT} version {MASK_VERSION}, or {{layer: [pruned heads]}}",
        actual=actual,
        remedy="use the mask.json that `prune-env purify` wrote",
    )
