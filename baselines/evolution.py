"""Evolutionary search over masks."""

import numpy as np

from prune_env.baselines.baseline import BoolArray
from prune_env.baselines.search import Scorer, SearchPolicy
from prune_env.env.episode_settings import EpisodeSettings
from prune_env.env.policy import Requirements

PARENTS, CHILDREN = 8, 16
PRUNE_SHARE = 0.75
WHOLE_MASK = 10_000


class Evolution(SearchPolicy):
    """A (8 + 16) evolution strategy: most heads pruned while the accuracy keeps tau.

    A child is a parent, crossed with another one half of the time (each head from either), with
    1 + Poisson(1) heads flipped, three out of four of them from kept to pruned. Masks that keep
    tau rank by heads pruned, then accuracy; those that do not rank below, by accuracy.

    The plan is one mask, and its heads have no order that keeps tau on the way: the strategy
    requires a `prune_step` that checks the whole mask at once.

    Source: (mu + lambda) selection, Beyer and Schwefel, "Evolution Strategies" (2002).
    """

    def _search(
        self, scorer: Scorer, rules: EpisodeSettings, tau: float, random: np.random.Generator
    ) -> list[int]:
        parents = [scorer.available]
        seen = {scorer.available.tobytes()}
        scorer(parents)
        while scorer.left:
            children: list[BoolArray] = []
            for _ in range(10 * CHILDREN):
                child = scorer.units.in_order(self._child(parents, scorer.available, random))
                legal = scorer.units.keeps(child, rules.min_heads_per_layer)
                if legal and child.tobytes() not in seen:
                    seen.add(child.tobytes())
                    children.append(child)
                if len(children) == min(CHILDREN, scorer.left):
                    break
            if not children:  # every mask within reach is known
                break
            parents = self._select(parents + children, scorer, tau)
        best = parents[0] if scorer(parents[:1])[0, 0] >= tau else scorer.available
        return [int(head) for head in random.permutation(np.flatnonzero(scorer.available & ~best))]

    def _child(
        self, parents: list[BoolArray], available: BoolArray, random: np.random.Generator
    ) -> BoolArray:
        first, second = (parents[index] for index in random.integers(len(parents), size=2))
        child: BoolArray = first.copy()
        if random.random() < 0.5:
            other = random.random(child.shape) < 0.5
            child[other] = second[other]
        for _ in range(1 + random.poisson(1.0)):
            prune = random.random() < PRUNE_SHARE
            heads = np.flatnonzero(child if prune else available & ~child)
            if len(heads):
                child.flat[random.choice(heads)] = not prune
        return child

    def _select(self, masks: list[BoolArray], scorer: Scorer, tau: float) -> list[BoolArray]:
        """Return the best masks, best first."""
        accuracy = scorer(masks)[:, 0]
        kept = np.array([mask.sum() for mask in masks])
        holds = accuracy >= tau
        order = np.lexsort((-accuracy, np.where(holds, kept, 0), ~holds))
        return [masks[index] for index in order[:PARENTS]]

    @classmethod
    def _requirements(cls, variant: str) -> Requirements:
        return Requirements(prune_step=WHOLE_MASK)
