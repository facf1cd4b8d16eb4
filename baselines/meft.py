"""MEFT: one pass of maximum entropy, then fine-tuning as usual; nothing is pruned."""

from prune_env.baselines.fine_tuning import FineTuning
from prune_env.env.policy import Requirements
from prune_env.training.phases import Phase


class Meft(FineTuning):
    """Prune nothing, but maximise the entropy of the prediction for one epoch first (MEFT).

    Source: Liu et al. (Findings of ACL 2023). The published code of the paper holds a loss class
    that no script calls, so there is no released variant.
    """

    @classmethod
    def _requirements(cls, variant: str) -> Requirements:
        phases = (Phase(epochs=1, penalty="max-entropy"), Phase())
        return Requirements(search=phases, final=phases, prunes=False)
