"""What the columns of a mask stand for: heads, groups of neurons, and steps of a map's strength."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from prune_env.models.masks import Mask

Kind = Literal["head", "neurons", "map"]

KINDS: tuple[Kind, ...] = ("head", "neurons", "map")
COUNTS = ("heads", "groups", "maps", "steps")


@dataclass(frozen=True)
class Unit:
    """One unit of a model.

    Attributes:
        kind: `head`, `neurons` (a group of feed-forward neurons), or `map` (linear maps that read
            the same, refitted with a strength).
        layer: Row in the mask.
        index: Which head, group or map of the layer.
        step: Of a map, which step of its strength, from 1; else 0.
    """

    kind: Kind
    layer: int
    index: int
    step: int = 0

    def __str__(self) -> str:
        step = f" step {self.step}" if self.step else ""
        return f"{self.kind} {self.layer}.{self.index}{step}"


@dataclass(frozen=True, eq=False)
class Units:
    """The units of a model on a grid of L layers and W columns, so that masks (L, W) choose them.

    Columns are H heads, then G groups of neurons, then S steps for each of M maps: W = H + G + M *
    S. A pruned step makes its map one step stronger refitted; how many are pruned is the strength,
    and they are pruned in order. Without groups and steps a mask is one of heads.

    Attributes:
        available: Bool (L, W), True where the model has the unit.
        heads: H.
        groups: G.
        maps: M.
        steps: S.

    Example:
        >>> units = Units(np.ones((1, 5), bool), heads=2, groups=1, maps=1, steps=2)
        >>> units.spare(units.available, least_heads=1).astype(int)
        array([[1, 1, 1, 1, 0]])
        >>> str(units.unit(0, 4))
        'map 0.0 step 2'
    """

    available: Mask
    heads: int
    groups: int = 0
    maps: int = 0
    steps: int = 0

    @classmethod
    def of_heads(cls, available: Mask) -> Self:
        """Return the units of a model of which heads alone are pruned, bool (L, H)."""
        return cls(available, available.shape[1])

    @classmethod
    def of_counts(cls, available: Mask, counts: Mapping[str, Any]) -> Self:
        """Return the units of a model whose `counts` a file tells.

        Raises:
            ValueError: They do not make so many columns.
        """
        numbers: list[Any] = [counts.get(name) for name in COUNTS]
        heads, groups, maps, steps = numbers
        whole = all(type(number) is int and number >= 0 for number in numbers)
        if not whole or heads + groups + maps * steps != available.shape[1]:
            raise ValueError(f"units that do not make {available.shape[1]} columns")
        return cls(available, heads, groups, maps, steps)

    @property
    def counts(self) -> dict[str, int]:
        """What a file tells of the columns: `COUNTS` by name."""
        return {name: getattr(self, name) for name in COUNTS}

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and columns (L, W)."""
        return self.available.shape[0], self.available.shape[1]

    @property
    def heads_only(self) -> bool:
        """Whether a mask of these units is one of heads."""
        return self.shape[1] == self.heads

    def head_part(self, masks: Mask) -> Mask:
        """Return the heads (..., H) of masks or rows (..., W)."""
        return masks[..., : self.heads]

    def group_part(self, masks: Mask) -> Mask:
        """Return the groups of neurons (..., G) of masks or rows (..., W)."""
        return masks[..., self.heads : self.heads + self.groups]

    def step_part(self, masks: Mask) -> Mask:
        """Return the steps (..., M, S) of masks or rows (..., W)."""
        steps = masks[..., self.heads + self.groups :]
        return steps.reshape(*masks.shape[:-1], self.maps, self.steps)

    def strengths(self, rows: Mask) -> npt.NDArray[np.int64]:
        """Return how many steps of every map are pruned in masks or rows, int64 (..., M).

        A map that a layer does not have counts as pruned; whoever refits knows which there are.
        """
        pruned: npt.NDArray[np.int64] = (~self.step_part(rows)).sum(-1)
        return pruned

    def in_order(self, masks: Mask) -> Mask:
        """Return masks (..., W) with the pruned steps of each map moved to its first places."""
        if not self.maps * self.steps:
            return masks
        steps = np.arange(self.steps) >= self.strengths(masks)[..., None]
        own = masks[..., : self.heads + self.groups]
        return np.concatenate([own, steps.reshape(*masks.shape[:-1], -1)], axis=-1)

    def spare(self, mask: Mask, least_heads: int) -> Mask:
        """Return which units may be pruned next, bool (L, W).

        Args:
            mask: Bool (L, W), True = kept.
            least_heads: Heads that every layer keeps; of other units all may go.
        """
        spare = mask.copy()
        enough = self.head_part(mask).sum(axis=1) > least_heads
        spare[:, : self.heads] &= enough[:, None]
        if self.maps * self.steps:
            # Of the steps of a map, the first that is kept.
            kept = self.step_part(mask)
            first = kept & (kept.cumsum(axis=-1) == 1)
            spare[:, self.heads + self.groups :] = first.reshape(len(mask), -1)
        return spare

    def room(self, mask: Mask, least_heads: int) -> int:
        """Return how many units can still be pruned from a mask (L, W), one after the other."""
        heads = (self.head_part(mask).sum(axis=1) - least_heads).clip(min=0)
        return int(heads.sum()) + int(mask[:, self.heads :].sum())

    def keeps(self, mask: Mask, least_heads: int) -> bool:
        """Whether every layer of a mask (L, W) keeps its least number of heads."""
        return bool((self.head_part(mask).sum(axis=1) >= least_heads).all())

    def unit(self, layer: int, column: int) -> Unit:
        """Return the unit at a place of the mask."""
        if column < self.heads:
            return Unit("head", layer, column)
        column -= self.heads
        if column < self.groups:
            return Unit("neurons", layer, column)
        index, step = divmod(column - self.groups, self.steps)
        return Unit("map", layer, index, step + 1)

    def columns_of(self, index: int) -> slice:
        """Return the columns of the steps of a map."""
        start = self.heads + self.groups + index * self.steps
        return slice(start, start + self.steps)

    def kinds(self) -> npt.NDArray[np.int64]:
        """Return the place in `KINDS` of what each column holds, int64 (W,)."""
        counts = (self.heads, self.groups, self.maps * self.steps)
        return np.repeat(np.arange(len(KINDS)), counts)

    def pruned(self, mask: Mask) -> dict[Kind, int]:
        """Return how many units of each kind a mask (L, W) removes."""
        gone = (self.available & ~mask).sum(axis=0)
        kinds = self.kinds()
        return {kind: int(gone[kinds == place].sum()) for place, kind in enumerate(KINDS)}
