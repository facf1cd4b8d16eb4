"""Safetensors files, judged by their header before any library maps them into memory.

The format: 8 bytes with the length of the header, little-endian; the header, JSON; the numbers of
all tensors in a row, without gaps (https://github.com/huggingface/safetensors, "Format").
"""

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from prune_env.errors import GET_AGAIN, ModelError
from prune_env.utils.counts import count_of
from prune_env.utils.limits import HEADER_BYTES, REF_BYTES, TENSOR_NAME, TENSORS, WEIGHT_BYTES
from prune_env.utils.reading import opened, without_doubles

BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
"""Bytes of a number, by type; the whole numbers are constants that old releases wrote."""
PACKED = ("F4", "F6_E2M3", "F6_E3M2", "F8_E4M3", "F8_E5M2", "F8_E8M0", "U16", "U32", "U64")
"""Types of quantized weights, which no model is loaded with."""
MAX_DIMENSIONS = 8
CHUNK = 2**22
"""Numbers that are looked at together: 16 MiB in float32."""


POINTER = b"version https://git-lfs.github.com/spec/"
"""How the small file begins that git leaves where a large one is to be fetched."""


def damaged(path: Path, expected: str, actual: object) -> ModelError:
    """Return the error that says what of a model's file is damaged."""
    if _is_pointer(path):
        return ModelError(
            f"{path} is not the file itself",
            expected=expected,
            actual="a pointer of Git LFS",
            remedy="run `git lfs pull` in the folder, or download the file",
        )
    return ModelError(
        f"{path} is damaged", expected=expected, actual=str(actual)[:200], remedy=GET_AGAIN
    )


def _is_pointer(path: Path) -> bool:
    try:
        with opened(path, REF_BYTES, ModelError) as file:
            return file.read(len(POINTER)) == POINTER
    except (OSError, ModelError):
        return False


def read_header(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor in a safetensors file, by name.

    Only the header is read, and all of it is checked: afterwards the file holds exactly the
    numbers that it promises.

    Raises:
        ModelError: The file is damaged, is not one, or exceeds a limit.
    """
    try:
        with opened(path, WEIGHT_BYTES, ModelError) as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= size - 8:
                raise damaged(path, f"a header, of {length} bytes", f"a file of {size} bytes")
            HEADER_BYTES.check(length, f"{path} has too large a header", ModelError)
            raw = file.read(length)
        entries = json.loads(raw, object_pairs_hook=without_doubles)
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise damaged(path, "a whole safetensors file", error) from None
    if not isinstance(entries, dict):
        raise damaged(path, "a JSON object as header", type(entries).__name__)
    entries.pop("__metadata__", None)
    TENSORS.check(len(entries), f"{path} holds too many tensors", ModelError)
    _check_places(path, entries, size - 8 - length)
    return {name: tuple(entry["shape"]) for name, entry in entries.items()}


def _check_places(path: Path, entries: dict[str, Any], size: int) -> None:
    """Raise unless the tensors fill the rest of the file, `size` bytes, one behind the other."""
    places = []
    for name, entry in entries.items():
        TENSOR_NAME.check(len(name), f"{path} holds a tensor with a long name", ModelError)
        places.append((*_place(path, name, entry), name))
    end = 0
    for start, stop, name in sorted(places):
        if start != end:
            raise damaged(path, f"the tensor {name} at byte {end}", f"byte {start}")
        end = stop
    if end != size:
        raise damaged(path, f"{end} bytes of numbers", f"{size} bytes")


def _place(path: Path, name: str, entry: Any) -> tuple[int, int]:
    """Return where the numbers of a tensor begin and end."""
    entry = entry if isinstance(entry, dict) else {}
    kind, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if kind in PACKED:
        raise ModelError(
            f"{path} holds the weight {name} as {kind!r:.40}",
            expected="floating-point weights",
            remedy="load a model that is not quantized",
        )
    if not (
        isinstance(kind, str)
        and kind in BYTES
        and isinstance(shape, list)
        and len(shape) <= MAX_DIMENSIONS
        and all(type(side) is int and 0 <= side < 2**48 for side in shape)
        and isinstance(offsets, list)
        and len(offsets) == 2
        and all(type(offset) is int and 0 <= offset < 2**63 for offset in offsets)
        and offsets[1] - offsets[0] == prod(shape) * BYTES[kind]
    ):
        raise damaged(
            path, f"a shape and an equal size of {name}", f"{shape!r:.80} {offsets!r:.80}"
        )
    return offsets[0], offsets[1]


def find_damage(path: Path) -> Iterator[ModelError]:
    """Yield what is wrong with a safetensors file: its header, then NaN and Inf in its numbers."""
    try:
        names = read_header(path)
    except ModelError as problem:
        yield problem
        return
    broken = []
    try:
        with safe_open(path, framework="pt") as file:
            broken = [name for name in names if not _is_finite(file.get_tensor(name))]
    except (SafetensorError, OSError, ValueError, OverflowError, RuntimeError) as error:
        yield damaged(path, "a whole safetensors file", error)
    if broken:
        told = f"{count_of(len(broken), 'tensor')}: {', '.join(broken[:5])}"
        yield ModelError(
            f"{path} holds NaN or Inf in {told}",
            expected="finite weights",
            remedy=f"{GET_AGAIN}, or train it again",
        )


def _is_finite(tensor: torch.Tensor) -> bool:
    """Return whether no number is NaN or Inf, looking at a part at a time."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    parts = tensor.flatten().split(CHUNK)
    # The least and the greatest of numbers among which is a NaN are NaN. Models compute in float32.
    return all(bool(torch.isfinite(torch.stack(part.aminmax()).float()).all()) for part in parts)
