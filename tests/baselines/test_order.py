"""What every fixed policy does: batches, legality, columns by name, the common `predict`."""

import numpy as np
import pytest

from prune_env.baselines.bayesian import Bayesian
from prune_env.baselines.gate_gradient import GateGradient
from prune_env.baselines.gradient import Gradient
from prune_env.baselines.gradient_l1_l2 import GradientL1L2
from prune_env.baselines.layerwise_variance import LayerwiseVariance
from prune_env.baselines.magnitude import Magnitude
from prune_env.baselines.pure import Pure
from prune_env.baselines.random_order import RandomOrder
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.landscape import LandscapeEvaluator
from prune_env.env.policy import Policy
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError
from prune_env.importance import METRICS
from tests.baselines.support import observe, prune_all

ORDERED = {
    Gradient: "key_gradient",
    GradientL1L2: "key_gradient",
    GateGradient: "gate_gradient",
    Magnitude: "magnitude",
    Bayesian: "dropout_spread",
    Pure: "cls_variance",
}
ALL_METRICS = tuple(METRICS.names())


@pytest.mark.parametrize("kind", ORDERED)
def test_heads_go_by_the_metric_of_that_name(kind: type) -> None:
    metrics = ("magnitude", "x", "dropout_spread", "cls_variance", "gate_gradient", "key_gradient")
    observation = observe((3, 4), len(metrics), seed=1)
    policy = kind(metrics)
    assert isinstance(policy, Policy)
    scores = observation["importance"][..., metrics.index(ORDERED[kind])]
    order = prune_all(policy, observation)
    assert order[-1] == 12  # STOP once every layer is down to one head
    assert len(order) == 3 * 3 + 1
    free = scores.copy()
    free[np.arange(3), scores.argmax(1)] = np.inf  # the last head of a layer never goes
    assert order[:-1] == np.argsort(free, axis=None)[:9].tolist()


def test_equal_scores_go_by_layer_then_head() -> None:
    observation = observe((2, 3), 4)
    observation["importance"][:] = 0
    assert prune_all(Gradient(), observation) == [0, 1, 3, 4, 6]


@pytest.mark.parametrize("kind", [Gradient, LayerwiseVariance, RandomOrder])
def test_a_batch_is_many_singles(kind: type) -> None:
    policy = kind()
    rows = [observe((3, 4), 4, seed=seed) for seed in range(5)]
    rows[1]["mask"][:, 1:] = 0  # nothing left but STOP
    rows[2]["mask"][0, :2] = 0
    batch = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    actions, state = policy.predict(batch, state=("kept",))
    assert actions.shape == (5,)
    assert actions.dtype == np.int64
    assert state == ("kept",)
    singles = [policy.predict(row)[0] for row in rows]
    assert all(action.shape == () for action in singles)
    assert actions.tolist() == [int(action) for action in singles]
    assert actions[1] == 12


def test_action_masks_decide_what_is_legal() -> None:
    observation = observe((2, 3), 4)
    policy = Gradient()
    first = int(policy.predict(observation)[0])
    allowed = np.ones(7, dtype=bool)
    allowed[first] = False
    second = int(policy.predict(observation, action_masks=allowed)[0])
    assert second not in (first, 6)
    assert int(policy.predict(observation, action_masks=allowed[None].astype(np.int8))[0]) == second
    allowed[:6] = False
    assert int(policy.predict(observation, action_masks=allowed)[0]) == 6
    pair = {key: np.stack([value, value]) for key, value in observation.items()}
    both = np.stack([np.ones(7, dtype=bool), allowed])
    assert policy.predict(pair, action_masks=both)[0].tolist() == [first, 6]


def test_heads_that_do_not_exist_are_never_named() -> None:
    observation = observe((2, 4), 4)
    observation["mask"][1, 2:] = 0  # layer 1 has two heads
    observation["importance"][1, 2:] = -10
    order = prune_all(Gradient(), observation)
    assert not {6, 7} & set(order)
    assert len(order) == 3 + 1 + 1


def test_the_observation_is_left_alone() -> None:
    observation = observe((2, 3), 4)
    before = {key: value.copy() for key, value in observation.items()}
    Gradient().predict(observation)
    assert all(np.array_equal(before[key], observation[key]) for key in before)


def test_a_missing_metric_or_variant_is_named() -> None:
    with pytest.raises(SettingsError, match="dropout_spread"):
        Bayesian()
    with pytest.raises(SettingsError, match="key_gradient_released"):
        Gradient(variant="released")
    with pytest.raises(SettingsError, match="no variant 'realeased'"):
        Gradient(variant="realeased")
    with pytest.raises(SettingsError, match="no variant 'released'"):
        Magnitude(variant="released")
    with pytest.raises(SettingsError, match="3 columns"):
        Gradient().predict(observe((2, 3), 3))


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        (Gradient, "key_gradient_released"),
        (GradientL1L2, "key_gradient_released"),
        (Bayesian, "cls_variance_released"),
        (Pure, "cls_variance_released"),
    ],
)
def test_released_variants_read_the_released_scores(kind: type, column: str) -> None:
    observation = observe((3, 4), len(ALL_METRICS), seed=2)
    policy = kind(ALL_METRICS, variant="released")
    scores = observation["importance"][..., ALL_METRICS.index(column)]
    assert int(policy.predict(observation)[0]) == scores.argmin()
    assert kind.requirements("released").metrics == (column,)


def test_layerwise_quota_rises_from_20_to_80_percent() -> None:
    observation = observe((12, 12), len(ALL_METRICS), seed=3)
    variance = observation["importance"][..., ALL_METRICS.index("cls_variance")]
    policy = LayerwiseVariance(ALL_METRICS)
    order = prune_all(policy, observation)
    quota = [2, 3, 3, 4, 5, 5, 6, 6, 7, 8, 8, 9]
    assert len(order) == sum(quota) + 1 == 66 + 1
    assert np.bincount(np.array(order[:-1]) // 12).tolist() == quota
    for layer, count in enumerate(quota):
        expected = layer * 12 + np.argsort(variance[layer])[:count]
        assert [head for head in order if head // 12 == layer and head < 144] == expected.tolist()
    chosen = [variance.flat[head] for head in order[:5]]
    assert chosen == sorted(chosen)  # across layers the smallest of all goes first


def test_layerwise_released_ignores_the_threshold() -> None:
    assert LayerwiseVariance.requirements("paper").tau is None
    assert LayerwiseVariance.requirements("released").tau == 0.0


def test_layerwise_quota_counts_only_heads_that_exist() -> None:
    observation = observe((3, 6), 4)
    missing = np.zeros((3, 6), dtype=bool)
    missing[1, 5:] = missing[2] = True  # two layers, of six and five heads
    observation["mask"][missing] = 0
    observation["importance"][missing] = 0
    order = prune_all(LayerwiseVariance(), observation)
    assert np.bincount(np.array(order[:-1]) // 6).tolist() == [1, 4]


@pytest.mark.parametrize("sizes", [[12], [12, 10]])
def test_layerwise_quota_holds_where_the_metric_is_constant(sizes: list[int]) -> None:
    """Scaled, a constant is 0, and so is the importance of a head that does not exist."""
    pool = [
        Subject(LandscapeEvaluator(2, heads), np.ones((2, heads, 1)), ("cls_variance",), f"{heads}")
        for heads in sizes
    ]
    env = HeadPruningEnv(pool=pool, metrics=("cls_variance",), tau=0.0)
    policy = LayerwiseVariance.for_env(env)
    observation, info = env.reset(seed=0, options={"model": "12"})
    while not info["ended"]:
        action, _ = policy.predict(observation, action_masks=info["action_mask"].astype(bool))
        observation, _, _, _, info = env.step(int(action))
    assert (~info["mask"]).sum(1).tolist() == [2, 9]


def test_random_order_is_fixed_by_its_seed() -> None:
    observation = observe((4, 4), 4)
    first = prune_all(RandomOrder(seed=1), observation)
    assert first == prune_all(RandomOrder(seed=1), observation)
    others = {tuple(prune_all(RandomOrder(seed=seed), observation)) for seed in range(8)}
    assert len(others) == 8
    assert len(first) == 13


def test_what_the_observation_says_is_legal_is_played() -> None:
    env = HeadPruningEnv("landscape", observation="mask,importance,status,legal")
    observation, _ = env.reset(seed=0)
    policy = Magnitude.for_env(env)
    first = int(policy.predict(observation)[0])
    observation["legal"][first] = 0
    assert int(policy.predict(observation)[0]) != first
