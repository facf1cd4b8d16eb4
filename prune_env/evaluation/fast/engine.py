"""What computes logits for the fast evaluator, one mask after the other."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from prune_env.models.masks import Mask


class Engine(Protocol):
    """Computes logits of fixed rows under masks and keeps what the next masks may need."""

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """The rows of the data (R,) that it answers for."""
        ...

    def run(self, masks: Mask) -> npt.NDArray[np.float32]:
        """Return the logits (N, R, C) under masks (N, L, H)."""
        ...

    def clear(self) -> None:
        """Release every state that is kept."""
        ...


def walking_order(masks: Mask) -> list[int]:
    """Return the order in which masks with equal first layers follow each other."""
    return sorted(range(len(masks)), key=lambda index: masks[index].tobytes())


def beginnings(masks: Mask, readings: Sequence[Sequence[bytes]]) -> list[list[bytes]]:
    """Return, by mask and layer, all that decides what enters the layer, and its heads' contexts.

    Args:
        masks: Bool (N, L, W).
        readings: By mask and layer what else of the layer decides the contexts.
    """
    return [
        [mask[:layer].tobytes() + reading for layer, reading in enumerate(own)]
        for mask, own in zip(masks, readings, strict=True)
    ]


def heads_ahead(masks: Mask, keys: Sequence[Sequence[bytes]], heads: int) -> dict[bytes, Mask]:
    """Return which heads (H,) are wanted right after each beginning of the masks.

    Masks that begin alike share all work up to layer l, and the contexts of layer l if those
    serve all of them.

    Args:
        masks: Bool (N, L, W).
        keys: Their `beginnings`.
        heads: H, the first columns of the masks.
    """
    ahead: dict[bytes, Mask] = {}
    for mask, own in zip(masks, keys, strict=True):
        for beginning, row in zip(own, mask[:, :heads], strict=True):
            known = ahead.get(beginning)
            ahead[beginning] = row.copy() if known is None else known | row
    return ahead
