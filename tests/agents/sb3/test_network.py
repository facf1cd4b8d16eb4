"""The network treats heads as a set."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.agents import features
from prune_env.agents.sb3.network import ILLEGAL, SetNetwork, head_tokens
from prune_env.env.observation import legal_actions
from tests.agents.observations import random_observation


def _tensors(observation):
    return {key: torch.tensor(value) for key, value in observation.items()}


def _network() -> SetNetwork:
    torch.manual_seed(0)
    network = SetNetwork(2, width=16)
    for parameter in network.parameters():  # the last layers start almost at zero
        torch.nn.init.normal_(parameter, std=0.3)
    return network


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**16))
def test_permuted_heads_give_permuted_logits_and_the_same_value(layers, heads, seed):
    observation = random_observation(3, layers, heads, seed=seed)
    order = np.random.default_rng(seed).permutation(heads)
    permuted = observation | {
        "mask": observation["mask"][:, :, order],
        "importance": observation["importance"][:, :, order],
    }
    network = _network()
    logits, value = network(_tensors(observation))
    logits_after, value_after = network(_tensors(permuted))
    expected = logits[:, :-1].view(3, layers, heads)[:, :, order].flatten(1)
    torch.testing.assert_close(logits_after[:, :-1], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logits_after[:, -1], logits[:, -1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(value_after, value, atol=1e-5, rtol=1e-4)


def test_one_set_of_weights_serves_any_shape():
    network = _network()
    for layers, heads in ((1, 1), (2, 4), (12, 16)):
        logits, value = network(_tensors(random_observation(5, layers, heads)))
        assert logits.shape == (5, layers * heads + 1)
        assert value.shape == (5,)


def test_padding_changes_nothing():
    observation = random_observation(2, layers=2, heads=3)
    padded = {
        "mask": np.pad(observation["mask"], ((0, 0), (0, 2), (0, 1))),
        "importance": np.pad(observation["importance"], ((0, 0), (0, 2), (0, 1), (0, 0))),
        "status": observation["status"],
    }
    network = _network()
    logits, value = network(_tensors(observation))
    padded_logits, padded_value = network(_tensors(padded))
    inside = padded_logits[:, :-1].view(2, 4, 4)[:, :2, :3].flatten(1)
    torch.testing.assert_close(inside, logits[:, :-1])
    torch.testing.assert_close(padded_logits[:, -1], logits[:, -1])
    torch.testing.assert_close(padded_value, value)
    assert (padded_logits[:, :-1].view(2, 4, 4)[:, 2:] == ILLEGAL).all()


def test_heads_see_their_context():
    observation = random_observation(1)
    observation["mask"][:] = 1
    alone = {key: value.copy() for key, value in observation.items()}
    alone["importance"][0, 2, 0] += 1
    network = _network()
    before, after = network(_tensors(observation))[0], network(_tensors(alone))[0]
    assert (before[0, 0] - after[0, 0]).abs() > 1e-6


@pytest.mark.parametrize("with_legal_part", [False, True])
def test_legality_and_features_are_those_of_numpy(with_legal_part: bool):
    observation = random_observation(4)
    if with_legal_part:
        observation["legal"] = np.ones((4, 13), np.float32)
        observation["legal"][:, 3] = 0
    tensors = _tensors(observation)
    logits, _ = _network()(tensors)
    assert np.array_equal(logits.detach().numpy() != ILLEGAL, legal_actions(observation))
    ours = np.delete(head_tokens(tensors).numpy().reshape(4, 12, -1), 4, axis=2)
    np.testing.assert_allclose(ours, features.head_features(observation), rtol=1e-6, atol=1e-7)
