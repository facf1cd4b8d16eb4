"""PPO over a set of heads."""

from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, PPO

from prune_env.agents.sb3.agent import Paced, SB3Agent
from prune_env.agents.sb3.policies import MaskableSetPolicy, SetActorCriticPolicy


class PacedMaskablePPO(Paced, MaskablePPO):
    """MaskablePPO whose schedules also follow a budget of evaluations."""


class MaskablePPOAgent(SB3Agent):
    """PPO with masked actions (Huang and Ontanon, 2022) over a set of heads; see `SB3Agent`."""

    algorithm = "maskable_ppo"
    model_class = PacedMaskablePPO
    policy_class = MaskableSetPolicy


class PacedA2C(Paced, A2C):
    """A2C whose schedules also follow a budget of evaluations."""


class A2CAgent(SB3Agent):
    """Advantage actor-critic (Mnih et al., 2016) over a set of heads; see `SB3Agent`."""

    algorithm = "a2c"
    model_class = PacedA2C
    policy_class = SetActorCriticPolicy


class PacedPPO(Paced, PPO):
    """PPO whose schedules also follow a budget of evaluations."""


class PPOAgent(SB3Agent):
    """Proximal policy optimisation (Schulman et al., 2017) over a set of heads; see `SB3Agent`."""

    algorithm = "ppo"
    model_class = PacedPPO
    policy_class = SetActorCriticPolicy
