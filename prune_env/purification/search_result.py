"""What a search for a mask hands out."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prune_env.models.masks import Mask
from prune_env.settings import Guard


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The mask that a policy chose.

    Attributes:
        policy: Name of the policy.
        mask: Bool (L, H), True = kept; of an ensemble, the first member's.
        accuracy: Validation accuracy under the mask, 0 to 1, plain whatever the guard; of an
            ensemble, the members' mean.
        tau: Threshold that was kept, 0 to 1.
        guard: What was compared with it, see `evaluation.guard`.
        evaluations: Masks evaluated for it, learning included.
        seconds: Wall time of the search.
        episodes: Episodes that it is the best of, those of a learning agent's learning apart.
        others: Masks of the other members of an ensemble.
        agent: What is known of the trained agent that chose, as plain values, with `oracle` if it
            learned from the trigger; empty if none is known.
    """

    policy: str
    mask: Mask
    accuracy: float
    tau: float
    evaluations: int
    seconds: float
    others: tuple[Mask, ...] = ()
    guard: Guard = "accuracy"
    agent: dict[str, Any] = field(default_factory=dict)
    episodes: int = 1

    @property
    def masks(self) -> tuple[Mask, ...]:
        """The masks of all members; one, if there is no ensemble."""
        return (self.mask, *self.others)

    @property
    def oracle(self) -> bool:
        """Whether the agent that chose learned from the trigger: nothing of it is a defence."""
        return "oracle" in self.agent

    @property
    def heads_pruned(self) -> int:
        """Number of heads that the mask removes; of an ensemble, the members' rounded mean."""
        return round(float(np.mean([(~mask).sum() for mask in self.masks])))

    def prunes(self, available: Mask) -> bool:
        """Return whether a mask removes anything of what there is, bool (L, H)."""
        return any(bool((available & ~mask).any()) for mask in self.masks)
