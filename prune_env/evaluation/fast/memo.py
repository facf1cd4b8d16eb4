"""What was computed once: the correct samples of every mask, and the latest logits."""

import numpy as np
import numpy.typing as npt

from prune_env.evaluation.fast.cache import ByteCache
from prune_env.models.masks import Mask


class Memo:
    """Answers by mask, for one model and one set of rows.

    Which samples were right is kept for every mask, one bit a sample; logits only for the masks
    used last.

    Args:
        samples: S.
        max_logits_bytes: Memory for logits.
    """

    def __init__(self, samples: int, *, max_logits_bytes: int) -> None:
        self._samples = samples
        self._bits: dict[bytes, int] = {}
        self._logits: ByteCache[npt.NDArray[np.float32]] = ByteCache(max_logits_bytes)

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
        self._logits.put(key, logits)

    def correct(self, key: bytes) -> npt.NDArray[np.bool_]:
        """Return the correct samples (S,) of a mask that is known."""
        raw = self._bits[key].to_bytes(-(-self._samples // 8), "little")
        return np.unpackbits(
            np.frombuffer(raw, np.uint8), count=self._samples, bitorder="little"
        ).astype(np.bool_)


def mask_keys(masks: Mask) -> list[bytes]:
    """Return each mask (N, L, H) as bytes, eight heads a byte."""
    packed = np.packbits(masks.reshape(len(masks), masks.shape[1] * masks.shape[2]), axis=1)
    return [row.tobytes() for row in packed]
