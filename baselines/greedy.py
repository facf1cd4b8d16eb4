"""Greedy one-step search: of the heads tried, the one whose loss hurts accuracy least goes."""

import numpy as np

from prune_env.baselines.search import Scorer, SearchPolicy
from prune_env.env.episode_settings import EpisodeSettings


class Greedy(SearchPolicy):
    """Prune, one after the other, the head that leaves the highest clean accuracy.

    Among equal accuracies the lower mean loss wins. Each round tries as many heads, drawn at
    random, as make the budget last until every layer has its least number of heads; where none of
    them keeps tau, further ones are tried. With a budget of about (L * H)^2 / 2 masks every round
    tries every head. The search ends when no head keeps tau, or with the budget.

    Source: greedy forward selection, the field's yardstick; under a budget it is the stochastic
    greedy of Mirzasoleiman et al., "Lazier Than Lazy Greedy" (AAAI 2015).
    """

    def _search(
        self, scorer: Scorer, rules: EpisodeSettings, tau: float, random: np.random.Generator
    ) -> list[int]:
        mask = scorer.available.copy()
        plan: list[int] = []
        while True:
            spare = scorer.units.spare(mask, rules.min_heads_per_layer)
            heads = random.permutation(np.flatnonzero(spare))
            rounds = max(scorer.units.room(mask, rules.min_heads_per_layer), 1)
            width = -(-scorer.left // rounds)
            best: int | None = None
            while best is None and len(heads) and scorer.left:
                tried, heads = np.split(heads, [min(width, scorer.left)])
                best = self._best(scorer, mask, tried.tolist(), tau)
            if best is None:
                return plan
            mask.flat[best] = False
            plan.append(best)

    def _best(self, scorer: Scorer, mask: np.ndarray, heads: list[int], tau: float) -> int | None:
        """Return the head without which accuracy is highest, or None if it falls below tau."""
        masks = []
        for head in heads:
            without = mask.copy()
            without.flat[head] = False
            masks.append(without)
        accuracy, loss = scorer(masks).T
        best = np.lexsort((loss, -accuracy))[0]
        return heads[best] if accuracy[best] >= tau else None
