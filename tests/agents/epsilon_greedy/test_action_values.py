"""The numpy regression network."""

import numpy as np
import torch

from prune_env.agents.epsilon_greedy.action_values import ActionValues, QNetwork
from prune_env.agents.epsilon_greedy.experience import WIDTH
from tests.agents.observations import random_observation


def test_learns_a_function_that_no_line_fits():
    rng = np.random.default_rng(0)
    network = QNetwork(2, 16, rng)
    features = rng.uniform(-1, 1, (512, 2)).astype(np.float32)
    targets = features[:, 0] * features[:, 1]
    for _ in range(1500):
        batch = rng.integers(512, size=64)
        network.fit(features[batch], targets[batch], 1e-2)
    error = np.mean((network(features) - targets) ** 2)
    assert error < 0.05 * targets.var()


def test_gradients_and_adam_equal_those_of_torch():
    rng = np.random.default_rng(1)
    network = QNetwork(3, 4, rng)
    network.weights["second"][:] = rng.normal(size=4)
    names = list(network.weights)
    twins = [torch.tensor(network.weights[name], requires_grad=True) for name in names]
    optimizer = torch.optim.Adam(twins, lr=1e-2, eps=1e-8)
    for _ in range(5):
        features = rng.normal(size=(8, 3)).astype(np.float32)
        targets = rng.normal(size=8).astype(np.float32)
        loss = network.fit(features, targets, 1e-2)
        first, first_bias, second, second_bias = twins
        hidden = torch.tanh(torch.tensor(features) @ first + first_bias)
        error = ((hidden @ second + second_bias - torch.tensor(targets)) ** 2).mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        np.testing.assert_allclose(loss, error.item(), rtol=1e-4)
    for name, twin in zip(names, twins, strict=True):
        np.testing.assert_allclose(network.weights[name], twin.detach(), atol=1e-4)


def test_state_restores_the_optimiser_too():
    rng = np.random.default_rng(2)
    network, twin = QNetwork(2, 4, rng), QNetwork(2, 4, rng)
    features, targets = np.ones((4, 2), np.float32), np.arange(4, dtype=np.float32)
    network.fit(features, targets, 1e-2)
    twin.restore(network.state())
    for each in (network, twin):
        each.fit(features, targets, 1e-2)
    np.testing.assert_array_equal(network(features), twin(features))


def test_returns_below_zero_are_learned_too():
    rng = np.random.default_rng(0)
    values = ActionValues(2, 4, 10, rng)
    row = values.features(random_observation(1), 0)
    values.remember([row], False, np.array([-2.0], np.float32))
    assert values.fit(1, 4, 1e-3, rng) == 1  # of nothing learned, in units of the largest return


def test_a_head_is_remembered_with_its_experience_and_without():
    values = ActionValues(2, 4, 10, np.random.default_rng(0))
    row = np.ones_like(values.features(random_observation(1), 0))
    values.remember([row], False, np.array([0.5], np.float32))
    known, unknown = values.state()["head_memory.features"]
    assert known.tolist() == row.tolist()
    assert unknown[:-WIDTH].tolist() == row[:-WIDTH].tolist()
    assert not unknown[-WIDTH:].any()
