"""Fixed policies: the paper's strategies and the field's yardsticks, one file each.

Importing the package registers them in `prune_env.env.policy.POLICIES` without importing torch.
"""

from prune_env.baselines import penalties
from prune_env.env.policy import POLICIES

__all__ = ["penalties"]  # importing it registers them

_POLICIES = {
    "gradient": ("gradient:Gradient", "smallest gradient on the key weights first (paper)"),
    "layerwise-variance": (
        "layerwise_variance:LayerwiseVariance",
        "smallest [CLS] variance first, 20 % of the first layer to 80 % of the last (paper)",
    ),
    "gradient-l1-l2": (
        "gradient_l1_l2:GradientL1L2",
        "gradient order on a model fine-tuned with a group penalty per head (paper)",
    ),
    "random-ensemble": (
        "random_ensemble:RandomEnsemble",
        "five models with random heads gone, which vote (paper)",
    ),
    "bayesian": ("bayesian:Bayesian", "smallest uncertainty under dropout first (paper)"),
    "pure": ("pure:Pure", "smallest [CLS] variance first, then attention normalised (PURE)"),
    "random": ("random_order:RandomOrder", "heads in random order"),
    "magnitude": ("magnitude:Magnitude", "smallest value and output weights first"),
    "gate-gradient": ("gate_gradient:GateGradient", "smallest gate gradient first (Michel et al.)"),
    "greedy": ("greedy:Greedy", "one-step look-ahead: least loss of accuracy first"),
    "reward-greedy": (
        "reward_greedy:RewardGreedy",
        "one-step look-ahead: the head whose loss raises the reward most first",
    ),
    "carried-climb": (
        "carried_climb:CarriedClimb",
        "what `carried-over` prunes, then the head whose loss raises the reward most",
    ),
    "evolution": ("evolution:Evolution", "evolutionary search over masks"),
    "ft": ("fine_tuning:FineTuning", "no pruning: clean fine-tuning alone (FT)"),
    "fth": ("fine_tuning:FineTuningHigh", "no pruning: a 2.5 times higher learning rate (FTH)"),
    "meft": ("meft:Meft", "no pruning: entropy maximised first, then fine-tuning (MEFT)"),
}

for _name, (_target, _help) in _POLICIES.items():
    POLICIES.register(_name, f"prune_env.baselines.{_target}", help=_help)
