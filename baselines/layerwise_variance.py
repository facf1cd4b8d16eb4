"""Layer-wise variance pruning: a quota of heads a layer, which rises with depth."""

from typing import ClassVar

import numpy as np

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

    def candidates(self, observation: Observation) -> BoolArray:
        """Return the heads of layers whose quota is not used up.

        A pruned head is told from one that does not exist, in a layer or model smaller than the
        grid, by its importance: that of a missing head is 0 throughout.
        """
        kept = observation["mask"] > 0.5
        heads = (kept | observation["importance"].any(-1)).sum(1)
        shares = np.linspace(FIRST_SHARE, LAST_SHARE, np.count_nonzero(heads))
        quota = np.zeros(len(heads))
        # The tolerance is for products like 0.6 * 5, which may end just below a whole number.
        quota[heads > 0] = np.floor(heads[heads > 0] * shares + 1e-9)
        pruned = heads - kept.sum(1)
        return np.broadcast_to((pruned < quota)[:, None], kept.shape)

    @classmethod
    def _requirements(cls, variant: str) -> Requirements:
        tau = 0.0 if variant == "released" else None
        return Requirements(metrics=(cls.metric[variant],), tau=tau)
