"""Randomized ensemble: several models with random heads gone, which vote."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from prune_env.baselines.baseline import Baseline, BoolArray
from prune_env.baselines.random_order import RandomOrder
from prune_env.env.policy import Observation, Requirements
from prune_env.importance.registry import DEFAULT_METRICS

MEMBERS = 5
RELEASED_HEADS_PER_LAYER = 2


class RandomEnsemble(Baseline):
    """Several masks, each pruned in a random order of its own until the threshold holds no more.

    Each member is played as its own episode (`member(index)`); the purifier averages the members'
    probabilities. Played itself, the policy is its first member.

    Source: the paper's randomized ensemble, whose number of members and vote it leaves open; five
    masks are drawn in the published code. Under `released` there is no ensemble: one mask, the
    union of five masks of two random heads a layer (about 86 of BERT-base's 144), unchecked.
    """

    variants: ClassVar[tuple[str, ...]] = ("paper", "released")
    reads_reward = False

    def __init__(
        self,
        metrics: Sequence[str] = DEFAULT_METRICS,
        *,
        variant: str = "paper",
        seed: int = 0,
    ) -> None:
        super().__init__(metrics, variant=variant, seed=seed)
        states = np.random.SeedSequence(seed).generate_state(MEMBERS)
        self.member_seeds: tuple[int, ...] = tuple(int(state) for state in states)

    def member(self, index: int) -> RandomOrder:
        """Return the policy of one member, 0 to `requirements(variant).members - 1`."""
        return RandomOrder(self.metrics, seed=self.member_seeds[index])

    def choose(self, observation: Observation, legal: BoolArray) -> int:
        """Return the next head of the first member, or of the released union."""
        if self.variant == "paper":
            return self.member(0).choose(observation, legal)
        chosen = legal & self.union(legal.shape)
        return int(chosen.argmax()) if chosen.any() else legal.size

    def union(self, shape: tuple[int, ...]) -> BoolArray:
        """Return the heads (L, H) that one of the released masks prunes."""
        layers, heads = shape
        pruned = np.zeros((layers, heads), dtype=bool)
        for seed in self.member_seeds:
            random = np.random.default_rng(seed)
            for layer in range(layers):
                count = min(RELEASED_HEADS_PER_LAYER, heads)
                pruned[layer, random.choice(heads, size=count, replace=False)] = True
        return pruned

    @classmethod
    def _requirements(cls, variant: str) -> Requirements:
        return Requirements(members=MEMBERS) if variant == "paper" else Requirements(tau=0.0)
