"""What was computed once: the correct samples of every mask, and the latest logits."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from prune_env.errors import StateError
from prune_env.evaluation.base import Masks
from prune_env.evaluation.fast.cache import ByteCache
from prune_env.utils.files import write_bytes

_CHECK = struct.Struct("<I")


class Memo:
    """Answers by mask, for one model and one set of rows.

    Which samples were right is kept for every mask, one bit a sample; logits only for the masks
    used last. With a file, the bits outlive the process: each new mask appends one record of fixed
    length with a checksum, so a process that was killed loses at most the record it was writing,
    and several processes may append to one file.

    Args:
        shape: Layers and heads of a mask (L, H).
        samples: S.
        max_logits_bytes: Memory for logits.
        path: The file, or None to remember in memory only.
        fingerprint: Identity (hex) of model and data, written into the file.

    Raises:
        StateError: The file belongs to another model or other data, or is no memo.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        samples: int,
        *,
        max_logits_bytes: int,
        path: Path | None = None,
        fingerprint: str = "",
    ) -> None:
        self._samples = samples
        self._bits: dict[bytes, int] = {}
        self._logits: ByteCache[npt.NDArray[np.float32]] = ByteCache(max_logits_bytes)
        self._mask_bytes = -(-shape[0] * shape[1] // 8)
        self._bits_bytes = -(-samples // 8)
        identity = f"prune-env-memo 1 {fingerprint or '-'} {shape[0]} {shape[1]} {samples}\n"
        self._header = identity.encode()
        self._path = path
        if path is not None:
            self._open(path)

    def __len__(self) -> int:
        """Masks whose correct samples are known."""
        return len(self._bits)

    def bits(self, key: bytes) -> int | None:
        """Return the correct samples of a mask as an integer, sample 0 the lowest bit, or None."""
        return self._bits.get(key)

    def logits(self, key: bytes) -> npt.NDArray[np.float32] | None:
        """Return the logits (S, C) of a mask, or None if they are not kept."""
        return self._logits.get(key)

    def put(
        self, key: bytes, correct: npt.NDArray[np.bool_], logits: npt.NDArray[np.float32]
    ) -> None:
        """Remember which samples (S,) were right under a mask, and its logits (S, C)."""
        if key not in self._bits:
            packed = np.packbits(correct, bitorder="little").tobytes()
            self._bits[key] = int.from_bytes(packed, "little")
            if self._path is not None:
                record = key + packed
                self._append(record + _CHECK.pack(zlib.crc32(record)))
        self._logits.put(key, logits)

    def correct(self, key: bytes) -> npt.NDArray[np.bool_]:
        """Return the correct samples (S,) of a mask that is known."""
        raw = self._bits[key].to_bytes(self._bits_bytes, "little")
        return np.unpackbits(
            np.frombuffer(raw, np.uint8), count=self._samples, bitorder="little"
        ).astype(np.bool_)

    def _open(self, path: Path) -> None:
        """Read the records of a file, up to the first that is damaged, and cut the rest off."""
        if not path.exists():
            write_bytes(path, self._header)
            return
        content = path.read_bytes()
        if not content.startswith(self._header):
            raise StateError(
                f"{path} is not the memo of this model and data",
                expected=self._header.decode().strip(),
                actual=repr(content.partition(b"\n")[0][: len(self._header)]),
                remedy="delete the file, or choose another folder",
            )
        size = self._mask_bytes + self._bits_bytes
        position = len(self._header)
        while position + size + _CHECK.size <= len(content):
            record = content[position : position + size]
            if content[position + size :][: _CHECK.size] != _CHECK.pack(zlib.crc32(record)):
                break
            bits = int.from_bytes(record[self._mask_bytes :], "little")
            self._bits[record[: self._mask_bytes]] = bits
            position += size + _CHECK.size
        if position < len(content):
            os.truncate(path, position)

    def _append(self, data: bytes) -> None:
        """Write in one call, so that records of several processes do not mix."""
        assert self._path is not None
        with self._path.open("ab", buffering=0) as file:
            file.write(data)


def mask_keys(masks: Masks) -> list[bytes]:
    """Return each mask (N, L, H) as bytes, eight heads a byte."""
    packed = np.packbits(masks.reshape(len(masks), masks.shape[1] * masks.shape[2]), axis=1)
    return [row.tobytes() for row in packed]
