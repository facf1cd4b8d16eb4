"""Policies that learn: epsilon-greedy in numpy, and Stable-Baselines3 with a network over heads.

Importing this package registers them in `prune_env.env.policy.POLICIES`; none is imported before
it is asked for.
"""

from prune_env.agents.trained import load_agent
from prune_env.env.policy import POLICIES, TRAINED

__all__ = ["load_agent"]

POLICIES.register(
    "epsilon-greedy",
    "prune_env.agents.epsilon_greedy:EpsilonGreedy",
    help="learns action values over head features; explores with probability epsilon",
)
for _name, _class, _help in (
    ("dqn", "dqn:DQNAgent", "deep Q-network over a set of heads (Stable-Baselines3)"),
    (
        "ppo",
        "on_policy:PPOAgent",
        "proximal policy optimisation over a set of heads (Stable-Baselines3)",
    ),
    ("a2c", "on_policy:A2CAgent", "advantage actor-critic over a set of heads (Stable-Baselines3)"),
    (
        "maskable_ppo",
        "on_policy:MaskablePPOAgent",
        "PPO with illegal actions masked out (sb3-contrib)",
    ),
):
    POLICIES.register(_name, f"prune_env.agents.sb3.{_class}", help=_help)

for _name, _trained in (
    ("trained-epsilon-greedy", "EPSILON_GREEDY"),
    ("trained-dqn", "DQN"),
    ("trained-ppo", "PPO"),
    ("trained-a2c", "A2C"),
    ("trained-maskable-ppo", "MASKABLE_PPO"),
):
    POLICIES.register(
        _name,
        f"prune_env.agents.shipped:{_trained}",
        help=f"{_name.removeprefix('trained-')} as it comes trained; learns no more",
    )
POLICIES.register(
    "carried-over",
    "prune_env.agents.shipped:CARRIED_OVER",
    help="an agent that learned on recorded models of real size, for heads and for hybrid units",
)

TRAINED.register(
    "agent",
    "prune_env.agents.trained:TrainedPolicy",
    help="what `prune-env train` wrote: the folder of a run, or `best` or `agent` in it",
)
