"""What a learner sees of each head."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.agents.features import (
    as_batch,
    existing_heads,
    head_features,
    pooled_features,
)
from prune_env.env.observation import legal_actions
from tests.agents.observations import random_observation


def test_one_observation_becomes_a_batch_of_one():
    batch = random_observation(1)
    single = {key: value[0] for key, value in batch.items()}
    again, was_single = as_batch(single)
    assert was_single
    assert all(np.array_equal(again[key], batch[key]) for key in batch)
    assert not as_batch(batch)[1]


def test_last_head_of_a_layer_is_illegal_and_stop_is_legal():
    observation = random_observation(1, layers=2, heads=2)
    observation["mask"][0] = [[1, 0], [1, 1]]
    assert legal_actions(observation)[0].tolist() == [False, False, True, True, True]


def test_the_environments_own_word_on_legality_is_taken():
    observation = random_observation(1, layers=1, heads=2) | {"legal": np.array([[0, 1, 1.0]])}
    assert legal_actions(observation)[0].tolist() == [False, True, True]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.integers(0, 2**16))
def test_features_follow_a_permutation_of_heads(layers, heads, metrics, seed):
    observation = random_observation(2, layers, heads, metrics, seed)
    order = np.random.default_rng(seed).permutation(heads)
    permuted = observation | {
        "mask": observation["mask"][:, :, order],
        "importance": observation["importance"][:, :, order],
    }
    before = head_features(observation).reshape(2, layers, heads, -1)
    after = head_features(permuted).reshape(2, layers, heads, -1)
    assert before.shape == (2, layers, heads, metrics + 6)
    np.testing.assert_array_equal(before[:, :, order], after)
    np.testing.assert_allclose(
        pooled_features(observation), pooled_features(permuted), rtol=1e-5, atol=1e-6
    )


def test_a_model_without_heads_has_finite_features():
    observation = random_observation(2)
    observation["mask"][0] = 0
    assert np.isfinite(pooled_features(observation)).all()
    assert np.isfinite(head_features(observation)).all()


def test_padding_changes_nothing_for_the_heads_that_exist():
    observation = random_observation(2, layers=2, heads=3)
    padded = {
        "mask": np.pad(observation["mask"], ((0, 0), (0, 2), (0, 1))),
        "importance": np.pad(observation["importance"], ((0, 0), (0, 2), (0, 1), (0, 0))),
        "status": observation["status"],
    }
    plain = head_features(observation).reshape(2, 2, 3, -1)
    inside = head_features(padded).reshape(2, 4, 4, -1)[:, :2, :3]
    np.testing.assert_array_equal(plain, inside)
    assert existing_heads(padded).sum() == 2 * 2 * 3
    np.testing.assert_allclose(pooled_features(observation), pooled_features(padded), rtol=1e-6)
