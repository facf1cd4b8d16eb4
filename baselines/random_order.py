"""Random pruning: the yardstick that every informed order has to beat."""

import numpy as np
import numpy.typing as npt

from prune_env.baselines.baseline import Baseline, BoolArray
from prune_env.env.policy import Observation, Requirements


class RandomOrder(Baseline):
    """Prune heads in an order drawn once from the seed.

    The order is fixed by seed and shape, so an episode can be replayed, and every environment of
    a batch follows the same order; draw another seed for another order.
    """

    reads_reward = False

    def choose(self, observation: Observation, legal: BoolArray) -> int:
        """Return the legal head that comes first in the order."""
        return int(np.where(legal, self.rank(legal.shape), legal.size).argmin())

    def rank(self, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Return the place (L, H) of each head in the order, from 0."""
        size = int(np.prod(shape))
        return np.random.default_rng(self.seed).permutation(size).reshape(shape)

    @classmethod
    def _requirements(cls, variant: str) -> Requirements:
        return Requirements()
