"""Agents that were trained beforehand and come with the package, by name."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from prune_env.agents.trained import TrainedPolicy
from prune_env.env.policy import Policy, Requirements
from prune_env.settings import Pruned

_ROOM = Path(__file__).parent
SHIPPED: dict[Pruned, Path] = {
    "heads": _ROOM / "shipped_agents",
    "hybrid": _ROOM / "shipped_hybrid_agents",
}
"""By what masks choose from: folders of agents that learned on landscapes, by algorithm, see
docs/scoreboard.md."""
RECORDED: dict[Pruned, Path] = {
    "heads": _ROOM / "shipped_recorded_agents",
    "hybrid": _ROOM / "shipped_recorded_hybrid_agents",
}
"""Likewise of agents that learned on recorded models."""


class ShippedAgent:
    """An agent for heads and one for hybrid units that come trained: each is read at its first use.

    Args:
        algorithm: Name of their folders.
        places: What holds these folders, by what masks choose from.
    """

    def __init__(self, algorithm: str, places: Mapping[Pruned, Path] = SHIPPED) -> None:
        self._algorithm = algorithm
        self._places = places

    @cached_property
    def _heads(self) -> TrainedPolicy:
        return TrainedPolicy(self._places["heads"] / self._algorithm)

    @cached_property
    def _hybrid(self) -> TrainedPolicy:
        return TrainedPolicy(self._places["hybrid"] / self._algorithm)

    @property
    def identity(self) -> dict[str, Any]:
        """What tells the one for heads from any other, see `TrainedStrategy`."""
        return self._heads.identity

    def requirements(self, variant: str = "paper") -> Requirements:
        """Return what it requires, see `Strategy`; hybrid games show their columns unasked."""
        return self._heads.requirements(variant)

    def for_env(self, env: Any, *, seed: int = 0, variant: str = "paper") -> Policy:
        """Return what plays the units of an environment, see `Strategy`."""
        boards = env.unwrapped.core.pool.boards  # which the vector form has, too
        heads_only = any(board.subject.units.heads_only for board in boards)
        trained = self._heads if heads_only else self._hybrid
        return trained.for_env(env, seed=seed, variant=variant)


EPSILON_GREEDY = ShippedAgent("epsilon-greedy")
DQN = ShippedAgent("dqn")
PPO = ShippedAgent("ppo")
A2C = ShippedAgent("a2c")
MASKABLE_PPO = ShippedAgent("maskable_ppo")
CARRIED_OVER = ShippedAgent("maskable_ppo", RECORDED)
"""What carries over to real models: agents that learned on recorded ones, see docs/scoreboard.md
and docs/hybrid.md."""
