"""Gradient pruning: the heads to whose keys the loss is least sensitive go first."""

from typing import ClassVar

from prune_env.baselines.order import OrderPolicy


class Gradient(OrderPolicy):
    """Order by the norm of dL/dW_K of each head on clean data, smallest first.

    Source: the paper's gradient-based strategy. Under `released` the score is the layer's
    gradient norm divided by the layer's sum, so every head scores 1 / H and rounding decides.
    """

    variants: ClassVar[tuple[str, ...]] = ("paper", "released")
    metric: ClassVar[dict[str, str]] = {
        "paper": "key_gradient",
        "released": "key_gradient_released",
    }
