"""MaskablePPO over a set of heads."""

from sb3_contrib import MaskablePPO

from prune_env.agents.sb3.agent import SB3Agent
from prune_env.agents.sb3.pacing import Paced
from prune_env.agents.sb3.policies import MaskableSetPolicy


class PacedMaskablePPO(Paced, MaskablePPO):
    """MaskablePPO whose schedules also follow a budget of evaluations."""


class MaskablePPOAgent(SB3Agent):
    """PPO with masked actions (Huang and Ontanon, 2022) over a set of heads; see `SB3Agent`."""

    algorithm = "maskable_ppo"
    model_class = PacedMaskablePPO
    policy_class = MaskableSetPolicy
