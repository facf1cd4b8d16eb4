"""What a policy sees: the parts of the observation, by name."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.spaces.utils import flatten_space
from gymnasium.vector.utils import batch_space

from prune_env.env.episode import Episode
from prune_env.env.pool import Pool
from prune_env.env.subject import SCALE_LIMIT, split_names
from prune_env.errors import SettingsError
from prune_env.utils.registry import Registry, first_line

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


Array = npt.NDArray[np.float32]

DEFAULT_OBSERVATION = ("mask", "importance", "status")


class ObservationPart(ABC):
    """One entry of the `Dict` observation.

    Derive from it, and register the class under its name to use it in `gym.make`:
    `OBSERVATIONS.register("mine", Mine, help="...")`.

    Attributes:
        name: Key in the observation.
        source: Where the idea comes from.
    """

    name: ClassVar[str]
    source: ClassVar[str]

    @abstractmethod
    def space(self, pool: Pool) -> spaces.Space[Any]:
        """Return the space of this part, float32, for the grid and metrics of a pool."""

    @abstractmethod
    def build(self, episode: Episode) -> Array:
        """Return this part for the present state, in an array that nobody else holds."""


class MaskPart(ObservationPart):
    """Float32 (L, H): 1 = kept, 0 = pruned, or no such head."""

    name = "mask"
    source = "State of the sequential decision process, arXiv 2508.20032"

    def space(self, pool: Pool) -> spaces.Space[Any]:
        """Return the space of this part."""
        return HeadGrid(0, 1, pool.shape)

    def build(self, episode: Episode) -> Array:
        """Return this part for the present state."""
        return episode.trial.astype(np.float32)


class ImportancePart(ObservationPart):
    """Float32 (L, H, M): every metric standardised over the model's heads, clipped to +-10."""

    name = "importance"
    source = "Head scores on clean data, arXiv 2508.20032; Michel et al., NeurIPS 2019"

    def space(self, pool: Pool) -> spaces.Space[Any]:
        """Return the space of this part."""
        shape = (*pool.shape, len(pool.metrics))
        return HeadGrid(-SCALE_LIMIT, SCALE_LIMIT, shape)

    def build(self, episode: Episode) -> Array:
        """Return this part for the present state."""
        return episode.board.importance.copy()


class StatusPart(ObservationPart):
    """Float32 (4,): accuracy, its margin to tau, share of heads pruned, share of budget left."""

    name = "status"
    source = "The stopping rule of arXiv 2508.20032 (accuracy against tau)"

    def space(self, pool: Pool) -> spaces.Space[Any]:
        """Return the space of this part."""
        return spaces.Box(np.array([0, -1, 0, 0], np.float32), np.ones(4, np.float32))

    def build(self, episode: Episode) -> Array:
        """Return this part for the present state."""
        accuracy = episode.accuracy
        margin = accuracy - episode.tau
        return np.array([accuracy, margin, episode.share_pruned, episode.budget_left], np.float32)


class LegalPart(ObservationPart):
    """Float32 (L * H + 1,): 1 = the action is legal; for algorithms without action masks."""

    name = "legal"
    source = "Huang and Ontanon, A Closer Look at Invalid Action Masking, 2022"

    def space(self, pool: Pool) -> spaces.Space[Any]:
        """Return the space of this part."""
        return spaces.Box(0, 1, (pool.shape[0] * pool.shape[1] + 1,), np.float32)

    def build(self, episode: Episode) -> Array:
        """Return this part for the present state."""
        return episode.legal.astype(np.float32)


OBSERVATIONS: Registry[type[ObservationPart]] = Registry("observation")
"""Parts of the observation by name."""

for _part in (MaskPart, ImportancePart, StatusPart, LegalPart):
    OBSERVATIONS.register(_part.name, _part, help=first_line(_part.__doc__))


def make_observation(names: str | Sequence[str]) -> tuple[ObservationPart, ...]:
    """Return the parts of an observation.

    Args:
        names: Names, as a sequence or as one string with commas.

    Raises:
        SettingsError: No part is named, or one is named twice.
        UnknownNameError: No part has this name.
    """
    names = split_names(names)
    if not names or len(set(names)) != len(names):
        raise SettingsError(
            "An observation names each of its parts once",
            expected=f"some of {', '.join(OBSERVATIONS.names())}",
            actual=", ".join(names) or "none",
        )
    return tuple(OBSERVATIONS[name]() for name in names)
