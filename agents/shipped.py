"""Agents that were trained beforehand and come with the package, by name."""

from functools import cached_property
from pathlib import Path
from typing import Any

from prune_env.agents.trained import TrainedPolicy
from prune_env.env.policy import Policy, Requirements

SHIPPED = Path(__file__).parent / "shipped_agents"
"""A folder each, by algorithm; docs/scoreboard.md tells how they were trained."""


class ShippedAgent:
    """A trained agent that comes with the package: a strategy that is read at its first use.

    Args:
        algorithm: Name of its folder.
    """

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm

    @cached_property
    def _trained(self) -> TrainedPolicy:
        return TrainedPolicy(SHIPPED / self._algorithm)

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from any other, see `TrainedStrategy`."""
        return self._trained.identity

    def requirements(self, variant: str = "paper") -> Requirements:
        """Return what it requires, see `Strategy`."""
        return self._trained.requirements(variant)

    def for_env(self, env: Any, *, seed: int = 0, variant: str = "paper") -> Policy:
        """Return what plays an environment, see `Strategy`."""
        return self._trained.for_env(env, seed=seed, variant=variant)


EPSILON_GREEDY = ShippedAgent("epsilon-greedy")
DQN = ShippedAgent("dqn")
PPO = ShippedAgent("ppo")
A2C = ShippedAgent("a2c")
MASKABLE_PPO = ShippedAgent("maskable_ppo")
CARRIED_OVER = MASKABLE_PPO
"""What scored best on games that none of them had learned on, see docs/scoreboard.md."""
