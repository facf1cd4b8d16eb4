"""Gradient pruning of a model that was fine-tuned under a structured sparsity penalty."""

from prune_env.baselines.gradient import Gradient
from prune_env.env.policy import Requirements
from prune_env.training.phases import Phase


class GradientL1L2(Gradient):
    """Order by the key gradient on a model whose heads were shrunk as groups, smallest first.

    Source: the paper's gradient-based strategy with structured L1/L2 sparsification. The penalty
    acts only on the model in which the mask is searched. Under `released` it is unstructured.
    """

    @classmethod
    def _requirements(cls, variant: str) -> Requirements:
        penalty = {"paper": "group-sparsity", "released": "sparsity-released"}[variant]
        return Requirements(metrics=(cls.metric[variant],), search=(Phase(penalty=penalty),))
