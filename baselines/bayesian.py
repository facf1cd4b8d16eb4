"""Bayesian pruning: the heads of least uncertainty under Monte-Carlo dropout go first."""

from typing import ClassVar

from prune_env.baselines.order import OrderPolicy


class Bayesian(OrderPolicy):
    """Order by the spread of the [CLS] variance over dropout passes, smallest first.

    Source: the paper's Bayesian strategy (uncertainty of each head by Monte-Carlo dropout, lowest
    first). The paper is silent on what is measured under dropout; here it is the quantity that
    PURE scores heads by. Under `released` dropout is off, the passes are equal, and the score is
    the plain variance of the published code.
    """

    variants: ClassVar[tuple[str, ...]] = ("paper", "released")
    metric: ClassVar[dict[str, str]] = {
        "paper": "dropout_spread",
        "released": "cls_variance_released",
    }
