"""Agents that come with the package are small and whole, and play models that they never saw."""

import numpy as np
import pytest

from prune_env.agents.checkpoint import read_checkpoint
from prune_env.agents.shipped import CARRIED_OVER, SHIPPED
from prune_env.agents.trained import learner_names
from prune_env.env.landscape import landscape_subject
from prune_env.env.policy import POLICIES, TrainedStrategy, find_policy
from prune_env.purification.search import search
from prune_env.settings import SearchSettings


def pruned(policy: str, seed: int) -> float:
    """Return how many of 72 heads it prunes, of three landscapes that no agent saw."""
    rules = SearchSettings(tau=0.85, budget=300)
    unseen = [landscape_subject(seed=each) for each in (501, 502, 503)]
    return float(np.mean([search(each, policy, rules, seed=seed).heads_pruned for each in unseen]))


def test_there_is_one_an_algorithm() -> None:
    assert sorted(path.name for path in SHIPPED.iterdir()) == learner_names()


@pytest.mark.parametrize("algorithm", learner_names())
def test_it_is_small_and_plays_by_its_name(algorithm: str) -> None:
    assert sum(path.stat().st_size for path in (SHIPPED / algorithm).iterdir()) < 300_000
    name = f"trained-{algorithm.replace('_', '-')}"
    strategy = find_policy(name)
    assert isinstance(strategy, TrainedStrategy)
    assert strategy.identity["algorithm"] == read_checkpoint(SHIPPED / algorithm).algorithm
    found = search(landscape_subject(layers=3, heads=5, seed=500), name, SearchSettings(tau=0.85))
    assert found.accuracy >= 0.85
    assert found.evaluations <= 16


def test_the_carried_over_one_prunes_more_than_random_order() -> None:
    assert POLICIES["carried-over"] is CARRIED_OVER
    random = [pruned("random", seed) for seed in range(5)]
    assert pruned("carried-over", 0) > np.mean(random) + 5
