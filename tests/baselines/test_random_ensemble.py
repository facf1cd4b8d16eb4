"""The ensemble's members, and the released union of masks."""

import numpy as np

from prune_env.baselines.random_ensemble import MEMBERS, RandomEnsemble
from tests.baselines.support import observe, prune_all


def test_members_are_random_orders_of_their_own() -> None:
    observation = observe((3, 4), 4)
    policy = RandomEnsemble(seed=7)
    assert RandomEnsemble.requirements().members == MEMBERS == len(policy.member_seeds) == 5
    orders = [tuple(prune_all(policy.member(index), observation)) for index in range(MEMBERS)]
    assert len(set(orders)) == MEMBERS
    assert tuple(prune_all(policy, observation)) == orders[0]
    assert policy.member_seeds == RandomEnsemble(seed=7).member_seeds
    assert policy.member_seeds != RandomEnsemble(seed=8).member_seeds


def test_the_released_union_prunes_about_86_of_144_heads() -> None:
    counts = []
    for seed in range(6):
        policy = RandomEnsemble(variant="released", seed=seed)
        order = prune_all(policy, observe((12, 12), 4))
        union = policy.union((12, 12))
        assert sorted(order[:-1]) == np.flatnonzero(union).tolist()
        assert union.sum(1).max() <= 10
        counts.append(len(order) - 1)
    assert 83 <= np.mean(counts) <= 89  # 12 * 12 * (1 - (10 / 12) ** 5) = 86.1
    assert RandomEnsemble.requirements("released").tau == 0.0
    assert RandomEnsemble.requirements("released").members == 1


def test_the_released_union_spares_the_last_head_of_a_layer() -> None:
    for seed in range(5):
        order = prune_all(RandomEnsemble(variant="released", seed=seed), observe((3, 3), 4))
        assert np.bincount(np.array(order[:-1]) // 3, minlength=3).max() <= 2
