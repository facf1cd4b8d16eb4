"""Arrays under a head of plain values in one .npz, of which nothing can run code."""

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.errors import PruneEnvError, StateError
from prune_env.utils.files import MISSHAPEN, write_bytes
from prune_env.utils.limits import ARRAY_BYTES, STATE_BYTES
from prune_env.utils.reading import read_bounded

HEAD = "head"
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How NumPy packs members; what other libraries raise about a damaged one is not foreseen."""

MOST_MEMBERS = 1_000
"""Of an archive, whose list is taken apart whole before the first size is known."""

ENTRY = b"PK\x01\x02"
"""Begins each entry of that list."""

HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""How the header of a member is read, by its version; a third one is for names of fields alone."""


@dataclass(frozen=True)
class ArrayFormat:
    """A kind of such files.

    Attributes:
        name: Stands in the head.
        version: Likewise.
        kind: For messages, such as "record".
        remedy: What the user can do about one that is damaged.
        older: Versions that are read as well.
    """

    name: str
    version: int
    kind: str
    remedy: str
    older: tuple[int, ...] = ()

    def write(
        self, path: str | Path, facts: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        """Write facts, plain values, and arrays as one compressed .npz, atomically."""
        head = json.dumps({"format": self.name, "version": self.version, **facts}).encode()
        file = io.BytesIO()
        np.savez_compressed(file, **{HEAD: np.frombuffer(head, np.uint8)}, **arrays)  # type: ignore[arg-type]
        write_bytes(path, file.getvalue())

    @contextmanager
    def reading(
        self, path: str | Path
    ) -> Iterator[tuple[dict[str, Any], dict[str, npt.NDArray[Any]], str]]:
        """Give the head, the arrays and the SHA-256 of a file to a body that takes them apart.

        Raises:
            StateError: There is no such file, it is damaged or of another kind, or what the body
                looks for is not there.
        """
        try:
            data = read_bounded(path, STATE_BYTES, StateError)
            arrays = unpacked(data, f"{path} unpacks to too much")
            head = json.loads(arrays.pop(HEAD).tobytes())
            known = head["version"] in (self.version, *self.older)
            if head["format"] != self.name or not known:
                raise ValueError(f"{head['format']} {head['version']}")
            yield head, arrays, hashlib.sha256(data).hexdigest()
        except PruneEnvError:
            raise
        except FileNotFoundError:
            raise StateError(f"No file {path}", remedy="check the path") from None
        except (OSError, MemoryError, *MISSHAPEN) as error:
            raise StateError(
                f"{path} is no {self.kind}", actual=error, remedy=self.remedy
            ) from None


def unpacked(data: bytes, too_much: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an .npz by name, of numbers and truth values alone.

    NumPy's own reader takes any size, and hands out the bytes of a member that is no array.

    Args:
        data: The file.
        too_much: What is said of one that unpacks to more than the limit.

    Raises:
        StateError: It does.
        ValueError: It holds anything else; also the other errors of `utils.files.MISSHAPEN`.
    """
    if data.count(ENTRY) > MOST_MEMBERS:
        raise ValueError(f"more than {MOST_MEMBERS:,} members")
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        ARRAY_BYTES.check(sum(member.file_size for member in members), too_much, StateError)
        for member in members:
            name = f"{member.filename!r:.40}"
            if member.compress_type not in PACKINGS:
                raise ValueError(f"{name} is packed in a way that NumPy does not use")
            file = io.BytesIO(archive.read(member))
            _check_header(file, name)
            array = np.lib.format.read_array(file, allow_pickle=False)
            arrays[member.filename.removesuffix(".npy")] = array
    return arrays


def _check_header(file: io.BytesIO, name: str) -> None:
    """Raise a ValueError unless a member holds just the numbers that its header claims.

    NumPy makes the array first, however large the header says it is, and reads then. The file
    stands at its beginning before and after.
    """
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"{name} is of version {version}")
    try:
        shape, _, dtype = HEADERS[version](file)
    except (SyntaxError, TokenError):  # NumPy reads the header as a Python literal
        raise ValueError(f"{name} has no header") from None
    if dtype.kind not in "biuf":
        raise ValueError(f"{name} holds {dtype}")
    held = len(file.getbuffer()) - file.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != held:
        raise ValueError(f"{name} claims a shape {shape!s:.80} of {dtype} in {held:,} bytes")
    file.seek(0)
