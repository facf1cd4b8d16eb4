"""Greedy search on the reward itself: the head whose loss raises it most goes next."""

from functools import partial
from typing import Any, Self

import numpy as np

from prune_env.baselines.baseline import BoolArray
from prune_env.baselines.search import Scorer, SearchPolicy, subject_of
from prune_env.env.episode_settings import EpisodeSettings

WIDTH = 8
"""Heads that are tried at a time; masks that share a batch share most of their work."""


class RewardGreedy(SearchPolicy):
    """Prune, one after the other, the head without which the reward is highest, while tau holds.

    Lazy: what a head gained when it was last tried bounds what it is expected to gain now, so
    only the most promising heads are tried again, until one gains more than any other ever
    promised. The search ends when no head gains anything, or with the budget. It needs an
    environment, whose reward it climbs.

    Source: accelerated greedy maximisation, Minoux (1978).
    """

    reads_reward = True

    @classmethod
    def for_env(cls, env: Any, *, seed: int = 0, variant: str = "paper") -> Self:
        """Build the policy for an environment, whose model and reward it takes over."""
        inner = env.unwrapped
        policy = super().for_env(env, seed=seed, variant=variant)
        policy.paid = partial(inner.core.reward.score, subject_of(inner))
        return policy

    def _search(
        self, scorer: Scorer, rules: EpisodeSettings, tau: float, random: np.random.Generator
    ) -> list[int]:
        mask, plan = self._begin(scorer, rules, tau)
        reached = -scorer([mask])[0, 1]
        promised = np.where(mask.ravel(), np.inf, -np.inf)
        while scorer.left:
            spare = scorer.units.spare(mask, rules.min_heads_per_layer)
            heads = random.permutation(np.flatnonzero(spare))
            order = heads[np.argsort(-promised[heads], kind="stable")]
            best: int | None = None
            for start in range(0, len(order), WIDTH):
                tried = order[start : start + min(WIDTH, scorer.left)]
                bound = 0.0 if best is None else promised[best]
                if not len(tried) or (start and promised[tried[0]] <= bound):
                    break
                masks = np.repeat(mask[None], len(tried), axis=0)
                masks.reshape(len(tried), -1)[np.arange(len(tried)), tried] = False
                accuracy, cost = scorer(list(masks)).T
                # A head that breaks tau now will hardly be spared when fewer are left beside it.
                promised[tried] = np.where(accuracy >= tau, -cost - reached, -np.inf)
                leader = int(tried[promised[tried].argmax()])
                if promised[leader] > bound:
                    best = leader
            if best is None:
                break
            mask.flat[best] = False
            reached += promised[best]
            plan.append(best)
        return plan

    def _begin(
        self, scorer: Scorer, rules: EpisodeSettings, tau: float
    ) -> tuple[BoolArray, list[int]]:
        """Return the mask that the climb begins at, and the heads that are gone there, in order."""
        return scorer.available.copy(), []
