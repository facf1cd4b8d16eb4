"""Fine-tuning alone, the defences that prune nothing: FT and FTH."""

from prune_env.baselines.baseline import Baseline, BoolArray
from prune_env.env.policy import Observation, Requirements
from prune_env.training.phases import Phase

HIGH_SCALE = 2.5
"""The paper's FTH runs at 5e-5 where its FT runs at 2e-5."""


class FineTuning(Baseline):
    """Prune nothing: what clean fine-tuning alone removes (FT)."""

    def choose(self, observation: Observation, legal: BoolArray) -> int:
        """Return STOP."""
        return legal.size

    @classmethod
    def _requirements(cls, variant: str) -> Requirements:
        return Requirements(prunes=False)


class FineTuningHigh(FineTuning):
    """Prune nothing, fine-tune at 2.5 times the caller's learning rate (FTH).

    Source: the paper's FTH, which runs at 5e-5 where FT runs at 2e-5.
    """

    @classmethod
    def _requirements(cls, variant: str) -> Requirements:
        phases = (Phase(learning_rate_scale=HIGH_SCALE),)
        return Requirements(search=phases, final=phases, prunes=False)
