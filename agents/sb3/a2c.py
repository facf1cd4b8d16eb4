"""A2C over a set of heads."""

from stable_baselines3 import A2C

from prune_env.agents.sb3.agent import SB3Agent
from prune_env.agents.sb3.pacing import Paced
from prune_env.agents.sb3.policies import SetActorCriticPolicy


class PacedA2C(Paced, A2C):
    """A2C whose schedules also follow a budget of evaluations."""


class A2CAgent(SB3Agent):
    """Advantage actor-critic (Mnih et al., 2016) over a set of heads; see `SB3Agent`."""

    algorithm = "a2c"
    model_class = PacedA2C
    policy_class = SetActorCriticPolicy
