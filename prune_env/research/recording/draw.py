"""Which masks a record holds: random ones, those that orders walk through, and neighbours."""

import numpy as np
import numpy.typing as npt

from prune_env.models.masks import Mask
from prune_env.research.recording.table import KINDS, MaskTable

LARGEST_SHARE = 0.6
"""Part of the heads that a drawn mask prunes at most; past it no model here keeps its accuracy."""
NOISE = (0.0, 0.3, 1.0)
"""Noise that is put on an order, in standard deviations of its metric; 0 is the order itself."""
ROUND = 4
"""Masks met among which the best one has its neighbours looked at."""
FLIPS = 3
TRIES = 50
"""Draws for each mask that is asked for; where nearly all are known, more would take too long."""


def draw_block(
    importance: npt.NDArray[np.float32],
    table: MaskTable,
    worth: npt.NDArray[np.float64],
    count: int,
    random: np.random.Generator,
) -> tuple[Mask, npt.NDArray[np.uint8]]:
    """Draw the next masks of a record, all new.

    A third each: heads at random, of every number up to `LARGEST_SHARE`; the way of an order by
    one importance metric, with and without noise; and masks met before with 1 to 3 heads pruned or
    brought back, of which the best of a few is taken. Every layer keeps a head.

    Args:
        importance: Float32 (L, H, M), scaled.
        table: The masks drawn so far.
        worth: Float64 (N,), how good each is to search around.
        count: Masks to draw.
        random: Source of the draw.

    Returns:
        Bool (at most `count`, L, H), fewer where `TRIES` draws for each find no more new ones,
        though the model may have some; and the index in `KINDS` of each.
    """
    available, met = table.available, table.masks
    known = {mask.tobytes() for mask in met}
    masks: list[Mask] = []
    kinds: list[int] = []
    least = int(available.any(axis=1).sum())
    largest = int(min(round(LARGEST_SHARE * available.sum()), available.sum() - least))
    for _ in range(TRIES * count):
        if len(masks) == count or largest < 1:
            break
        kind = int(random.integers(len(KINDS)))
        if kind == 2:
            mask = _neighbour(available, met, worth, random)
        else:
            order = random.random(available.shape)
            if kind == 1:
                column = importance[..., int(random.integers(importance.shape[2]))]
                order = column + float(random.choice(NOISE)) * random.normal(size=available.shape)
            mask = _prune(available, order, int(random.integers(1, largest + 1)))
        if mask.tobytes() not in known:
            known.add(mask.tobytes())
            masks.append(mask)
            kinds.append(kind)
    return np.array(masks, np.bool_).reshape(-1, *available.shape), np.array(kinds, np.uint8)


def _prune(available: Mask, order: npt.NDArray[np.floating], heads: int) -> Mask:
    """Return a mask without so many heads, the least in `order` first, none the last of a layer."""
    mask = available.copy()
    for head in np.argsort(order, axis=None, kind="stable"):
        if heads == 0:
            break
        if mask.flat[head] and mask[head // mask.shape[1]].sum() > 1:
            mask.flat[head] = False
            heads -= 1
    return mask


def _neighbour(
    available: Mask, met: Mask, worth: npt.NDArray[np.float64], random: np.random.Generator
) -> Mask:
    rows = random.integers(len(met), size=ROUND)
    mask: Mask = met[rows[worth[rows].argmax()]].copy()
    heads = np.flatnonzero(available)
    for head in random.choice(heads, size=min(len(heads), int(random.integers(1, FLIPS + 1)))):
        if not mask.flat[head] or mask[head // mask.shape[1]].sum() > 1:
            mask.flat[head] = not mask.flat[head]
    return mask
