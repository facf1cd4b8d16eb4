"""Layer-wise variance pruning: a quota of heads a layer, which rises with depth."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from prune_env.baselines.baseline import BoolArray
from prune_env.baselines.order import OrderPolicy
from prune_env.env.policy import Observation, Requirements

FIRST_SHARE, LAST_SHARE = 0.2, 0.8


class LayerwiseVariance(OrderPolicy):
    """Order by [CLS] variance, smallest first, at most 20 % of the first layer to 80 % of the last.

    The quota of a layer is `int(heads * share)`, with the share rising evenly from layer to layer;
    a single layer gets the first share. Among the layers with quota left the smallest variance of
    all goes next, and the policy stops when every quota is met.

    Source: the paper's layer-wise strategy. Under `released` the threshold is never read (tau 0):
    the whole quota goes at once (66 of 144 heads of BERT-base), by the published code's variance.
    """

    variants: ClassVar[tuple[str, ...]] = ("paper", "released")
    metric: ClassVar[dict[str, str]] = {
        "paper": "cls_variance",
        "released": "cls_variance_released",
    }

    _models: Sequence[tuple[npt.NDArray[np.float32], BoolArray]] = ()

    @classmethod
    def for_env(cls, env: Any, *, seed: int = 0, variant: str = "paper") -> Self:
        """Build the policy for an environment, of whose models it knows which heads exist."""
        policy = super().for_env(env, seed=seed, variant=variant)
        boards = env.unwrapped.core.pool.boards
        policy._models = [(board.importance, board.available) for board in boards]
        return policy

    def candidates(self, observation: Observation) -> BoolArray:
        """Return the heads of layers whose quota is not used up."""
        kept = observation["mask"] > 0.5
        heads = self._existing(observation).sum(1)
        shares = np.linspace(FIRST_SHARE, LAST_SHARE, np.count_nonzero(heads))
        quota = np.zeros(len(heads))
        # The tolerance is for products like 0.6 * 5, which may end just below a whole number.
        quota[heads > 0] = np.floor(heads[heads > 0] * shares + 1e-9)
        pruned = heads - kept.sum(1)
        return np.broadcast_to((pruned < quota)[:, None], kept.shape)

    def _existing(self, observation: Observation) -> BoolArray:
        """Return which heads (L, H) there are, those that are pruned included.

        A model or layer may be smaller than the grid. Of a model that the policy was not built
        for a missing head is told from a pruned one by its importance: that is 0 throughout, as
        is, alas, that of every head where all metrics are constant.
        """
        shown = observation["importance"]
        for importance, available in self._models:
            if np.array_equal(importance, shown):
                return available
        existing: BoolArray = (observation["mask"] > 0.5) | shown.any(-1)
        return existing

    @classmethod
    def _requirements(cls, variant: str) -> Requirements:
        tau = 0.0 if variant == "released" else None
        return Requirements(metrics=(cls.metric[variant],), tau=tau)
