"""The space of bounded numbers laid out over layers and heads."""

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.spaces.utils import flatten_space
from gymnasium.vector.utils import batch_space

FloatArray = npt.NDArray[np.float32]


class HeadGrid(spaces.MultiBinary):
    """Float32 arrays (L, H, ...) with values in [low, high], taken by networks as they are.

    It is what a `Box` of that shape would be, and batches and flattens to a `Box`. But
    Stable-Baselines3 takes every `Box` with three axes for an image and advises against any
    with two, so its checker would never be silent on layers x heads. Of the spaces that it passes
    to a network unchanged, `MultiBinary` is the other one with any number of axes, so a grid
    derives from that.

    Args:
        low: Least value.
        high: Greatest value.
        shape: Layers, heads, and what more there is.
        seed: Of the generator that `sample` draws from.

    Example:
        >>> grid = HeadGrid(-1, 1, (2, 3))
        >>> np.full((2, 3), 0.5, np.float32) in grid, np.full((2, 3), 2.0, np.float32) in grid
        (True, False)
    """

    n: tuple[int, ...]

    def __init__(
        self,
        low: float,
        high: float,
        shape: tuple[int, ...],
        seed: int | np.random.Generator | None = None,
    ) -> None:
        spaces.Space.__init__(self, shape, np.float32, seed)
        self.n = tuple(shape)
        self.low = float(low)
        self.high = float(high)

    def sample(self, mask: Any = None, probability: Any = None) -> FloatArray:  # type: ignore[override]
        """Draw every value uniformly from [low, high]; masks are not supported, as in a `Box`."""
        if mask is not None or probability is not None:
            raise NotImplementedError("HeadGrid.sample takes neither a mask nor probabilities")
        return self.np_random.uniform(self.low, self.high, self.shape).astype(np.float32)

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a float32 array of this shape within the bounds; NaN is not."""
        return bool(
            isinstance(x, np.ndarray)
            and x.dtype == np.float32
            and x.shape == self.shape
            and (x >= self.low).all()
            and (x <= self.high).all()
        )

    def __repr__(self) -> str:
        return f"HeadGrid({self.low}, {self.high}, {self.shape})"

    def __eq__(self, other: object, /) -> bool:
        return (
            isinstance(other, HeadGrid)
            and self.shape == other.shape
            and (self.low, self.high) == (other.low, other.high)
        )

    __hash__ = None  # type: ignore[assignment]  # as every space


@batch_space.register(HeadGrid)
def _batch(space: HeadGrid, n: int = 1) -> spaces.Box:
    seed = np.random.default_rng(space.np_random.integers(2**63))
    return spaces.Box(space.low, space.high, (n, *space.shape), np.float32, seed)


@flatten_space.register(HeadGrid)
def _flatten_space(space: HeadGrid) -> spaces.Box:
    return spaces.Box(space.low, space.high, (int(np.prod(space.shape)),), np.float32)
