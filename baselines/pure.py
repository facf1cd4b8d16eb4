"""PURE: variance of the [CLS] row, then fine-tuning with normalised attention."""

from typing import ClassVar

from prune_env.baselines.order import OrderPolicy
from prune_env.env.policy import Requirements
from prune_env.training.phases import Phase


class Pure(OrderPolicy):
    """Order by the variance of the [CLS] row, smallest first; then penalise the attention norm.

    Source: Zhao et al., "Defense against Backdoor Attack on Pre-trained Language Models via Head
    Pruning and Attention Normalization" (ICML 2024). Under `released` the variance runs over 127
    columns with padding, and the penalty's root is taken over the whole batch.
    """

    variants: ClassVar[tuple[str, ...]] = ("paper", "released")
    metric: ClassVar[dict[str, str]] = {
        "paper": "cls_variance",
        "released": "cls_variance_released",
    }

    @classmethod
    def _requirements(cls, variant: str) -> Requirements:
        penalty = {"paper": "attention-norm", "released": "attention-norm-released"}[variant]
        return Requirements(metrics=(cls.metric[variant],), final=(Phase(penalty=penalty),))
