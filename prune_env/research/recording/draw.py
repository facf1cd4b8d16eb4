"""Which masks a record holds: random ones, those that orders walk through, and neighbours.

They come in families that share all layers but the last two: an evaluator computes those once,
and of the last layer the first tokens alone, so that of a MiniLM eight masks cost what two would.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from prune_env.env.recorded import REWARD
from prune_env.models.masks import Mask
from prune_env.models.units import KINDS as UNIT_KINDS
from prune_env.models.units import Units
from prune_env.research.recording.table import KINDS, MaskTable

LARGEST_SHARE = 0.6
"""Part of the units that a drawn mask prunes at most; past it no model here keeps its accuracy."""
NOISE = (0.0, 0.3, 1.0)
"""Noise that is put on an order, in standard deviations of its metric; 0 is the order itself."""
LEAST_HEADS = 1
"""Heads that every layer keeps."""
TRIES = 50
"""Families in a row that may hold no new mask; a record that knows nearly all ends there."""
COSTS_TOO_MUCH = 0.05
"""Accuracy that a mask may lose and still have its neighbours looked at."""
ROUND = 4
"""Masks met among which the best one has its neighbours looked at."""
VERSIONS = (2, 4)
"""Of each of the last layers, for every version of the layers before: 8 masks, at most.

Larger families are more masks in the same time, but tell less of the first layers.
"""
Relative = Callable[[], Mask]
"""Draws a mask of the same kind as another one."""


def next_family(
    table: MaskTable, importance: npt.NDArray[np.float32], seed: int
) -> tuple[int, Mask]:
    """Draw the masks of a further family that a record does not hold.

    Args:
        table: The masks drawn so far; with the seed they alone decide on what is drawn.
        importance: Float32 (L, W, M), scaled.
        seed: Of the recording.

    Returns:
        Their kind, an index in `KINDS`; and the masks, bool (N, L, W), none where `TRIES` families
        in a row held no new one.
    """
    random = np.random.default_rng([seed, len(table.masks)])
    if largest_number(table.units) >= 1:
        known = {mask.tobytes() for mask in table.masks}
        worth = _worth(table)
        for _ in range(TRIES):
            family, kind = draw_family(importance, table, worth, random)
            new = [mask for mask in family if mask.tobytes() not in known]
            if new:
                return kind, np.array(new)
    return 0, table.masks[:0]


def rest_of_family(table: MaskTable, importance: npt.NDArray[np.float32], seed: int) -> Mask:
    """Return what a record lacks of its last family, bool (N, L, W): a number of masks may cut it.

    It is drawn once more. Where that gives other masks, another release drew those that are held.
    """
    begun = int(np.searchsorted(table.families, table.families[-1]))
    held = table.masks[begun:]
    if not begun:
        return held[:0]  # the unpruned model is no family
    _, drawn = next_family(table.first(begun), importance, seed)
    same = np.array_equal(drawn[: len(held)], held)
    return drawn[len(held) :] if same else held[:0]


def _worth(table: MaskTable) -> npt.NDArray[np.float64]:
    """Return how good each mask is to search around: by its first reward, while accuracy holds."""
    reward = next(column for name, column in table.columns.items() if name.startswith(REWARD))
    accuracy = table.columns["accuracy"].astype(np.float64)
    return np.where(accuracy >= accuracy[0] - COSTS_TOO_MUCH, reward, accuracy - 2)


def draw_family(
    importance: npt.NDArray[np.float32],
    table: MaskTable,
    worth: npt.NDArray[np.float64],
    random: np.random.Generator,
) -> tuple[Mask, int]:
    """Draw masks that share their first layers.

    One of them is, by a third each: without units at random, of every number up to
    `LARGEST_SHARE`; on the way of an order by one importance metric, with and without noise; a mask
    met before, the best of a few. The others have the last layers of its relatives: other units at
    random; another draw of the noise; about one unit a layer pruned or brought back. Every layer
    keeps a head, and the steps of a map go in order. Where there are units beside heads, of those
    at random some kinds go before others: of all kinds alike no model keeps its accuracy for long.

    Args:
        importance: Float32 (L, W, M), scaled.
        table: The masks drawn so far.
        worth: Float64 (N,), how good each is to search around.
        random: Source of the draw.

    Returns:
        Bool (N, L, W), all different, some of which may be in the table; and their index in
        `KINDS`.
    """
    units = table.units
    kind = int(random.integers(len(KINDS)))
    count = int(random.integers(1, largest_number(units) + 1))

    def at_random() -> Mask:
        order = random.random(units.shape)
        if not units.heads_only:
            order += random.random(len(UNIT_KINDS))[units.kinds()]
        return _prune(units, order, count)

    column = importance[..., int(random.integers(importance.shape[2]))]

    def on_the_way(noise: float = NOISE[-1]) -> Mask:
        return _prune(units, column + noise * random.normal(size=units.shape), count)

    if kind == 0:
        return _family(at_random(), at_random), kind
    if kind == 1:
        return _family(on_the_way(float(random.choice(NOISE))), on_the_way), kind
    rows = random.integers(len(table.masks), size=ROUND)
    best = table.masks[rows[worth[rows].argmax()]]
    # The best one itself is known: the family's first layers differ from it as well.
    first = _neighbour(units, best, random)
    return _family(first, lambda: _neighbour(units, first, random)), kind


def largest_number(units: Units) -> int:
    """Return how many units a drawn mask prunes at most; 0 where each layer has but one head."""
    available = units.available
    return min(round(LARGEST_SHARE * int(available.sum())), units.room(available, LEAST_HEADS))


def _family(first: Mask, relative: Relative) -> Mask:
    """Return a mask (L, W) and others (N, L, W) that have the last layers of its relatives."""
    layers = len(first)
    versions = (*[1] * layers, *VERSIONS)[-layers:]
    begun = first[None, :0]
    for layer, each in enumerate(versions):
        begun = np.array(
            [
                [*rows, relative()[layer] if version else first[layer]]
                for rows in begun
                for version in range(each)
            ]
        )
    return np.unique(begun, axis=0).astype(np.bool_)


def _prune(units: Units, order: npt.NDArray[np.floating], count: int) -> Mask:
    """Return a mask without so many units, the least in `order` first, none a layer's last head."""
    mask = units.available.copy()
    heads = units.head_part(mask)
    for place in np.argsort(order, axis=None, kind="stable"):
        if count == 0:
            break
        layer, column = divmod(int(place), mask.shape[1])
        last = column < units.heads and heads[layer].sum() <= LEAST_HEADS
        if mask[layer, column] and not last:
            mask[layer, column] = False
            count -= 1
    return units.in_order(mask)


def _neighbour(units: Units, mask: Mask, random: np.random.Generator) -> Mask:
    """Return a mask in which about one unit a layer is pruned or brought back."""
    available = units.available
    count = np.maximum(available.sum(axis=1, keepdims=True), 1)
    other = mask ^ (available & (random.random(mask.shape) < 1 / count))
    emptied = ~units.head_part(other).any(axis=1)
    other[emptied] = mask[emptied]
    return units.in_order(np.asarray(other, np.bool_))
