"""PPO over a set of heads."""

from stable_baselines3 import PPO

from prune_env.agents.sb3.agent import SB3Agent
from prune_env.agents.sb3.pacing import Paced
from prune_env.agents.sb3.policies import SetActorCriticPolicy


class PacedPPO(Paced, PPO):
    """PPO whose schedules also follow a budget of evaluations."""


class PPOAgent(SB3Agent):
    """Proximal policy optimisation (Schulman et al., 2017) over a set of heads; see `SB3Agent`."""

    algorithm = "ppo"
    model_class = PacedPPO
    policy_class = SetActorCriticPolicy
