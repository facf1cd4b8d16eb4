"""Policies that learn: epsilon-greedy in numpy, and Stable-Baselines3 with a network over heads.

Importing this package registers them in `prune_env.policy.POLICIES`; none is imported before it is
asked for.
"""

from prune_env.agents.loading import load_agent
from prune_env.policy import POLICIES

__all__ = ["load_agent"]

POLICIES.register(
    "epsilon-greedy",
    "prune_env.agents.epsilon_greedy:EpsilonGreedy",
    help="learns action values over head features; explores with probability epsilon",
)
