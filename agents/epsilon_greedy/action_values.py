"""The learned worth of every action: two small networks and the memory they are fitted on."""

from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.agents.epsilon_greedy import experience
from prune_env.agents.epsilon_greedy.experience import Experience
from prune_env.agents.features import (
    STATUS,
    BoolArray,
    FloatArray,
    head_features,
    pooled_features,
)
from prune_env.env.policy import Observation

_DECAY_MEAN, _DECAY_SQUARE, _EPS = 0.9, 0.999, 1e-8


class QNetwork:
    """Maps features to one value, with the same weights for whatever the features describe.

    The hidden layer is tanh; the output layer starts at zero, so nothing is preferred before
    anything is learned.

    Args:
        inputs: Number of features F.
        hidden: Width of the hidden layer.
        rng: Source of the first weights.
    """

    def __init__(self, inputs: int, hidden: int, rng: np.random.Generator) -> None:
        first = rng.normal(0, 1 / np.sqrt(inputs), (inputs, hidden))
        self.weights = {
            "first": first.astype(np.float32),
            "first_bias": np.zeros(hidden, np.float32),
            "second": np.zeros(hidden, np.float32),
            "second_bias": np.zeros(1, np.float32),
        }
        self._mean = {name: np.zeros_like(value) for name, value in self.weights.items()}
        self._square = {name: np.zeros_like(value) for name, value in self.weights.items()}
        self._updates = 0

    def __call__(self, features: FloatArray) -> FloatArray:
        """Return the values, float32 (...), of features (..., F)."""
        return self._output(self._hidden(features))

    def fit(self, features: FloatArray, targets: FloatArray, learning_rate: float) -> float:
        """Take one Adam step on the mean squared error.

        Args:
            features: Float32 (B, F).
            targets: Float32 (B,).
            learning_rate: Step size of Adam (Kingma and Ba, 2015).

        Returns:
            The error before the step.
        """
        hidden = self._hidden(features)
        error = self._output(hidden) - targets
        slope = error * np.float32(2 / len(error))
        inner: FloatArray = slope[:, None] * self.weights["second"] * (1 - hidden**2)
        gradients: dict[str, FloatArray] = {
            "first": features.T @ inner,
            "first_bias": inner.sum(axis=0),
            "second": (slope[:, None] * hidden).sum(axis=0),
            "second_bias": np.array([slope.sum()], np.float32),
        }
        self._step(gradients, learning_rate)
        return float(np.mean(error**2))

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return copies of the weights and of the optimiser's moments, by name."""
        groups = {"weights": self.weights, "mean": self._mean, "square": self._square}
        tensors: dict[str, npt.NDArray[np.generic]] = {
            f"{group}.{name}": value.copy()
            for group, values in groups.items()
            for name, value in values.items()
        }
        return tensors | {"updates": np.array([self._updates], np.int64)}

    def restore(self, tensors: dict[str, npt.NDArray[np.generic]]) -> None:
        """Take over what `state` returned."""
        for group, values in (
            ("weights", self.weights),
            ("mean", self._mean),
            ("square", self._square),
        ):
            for name in values:
                values[name] = tensors[f"{group}.{name}"].astype(np.float32)
        self._updates = int(tensors["updates"][0])

    def _hidden(self, features: FloatArray) -> FloatArray:
        hidden: FloatArray = np.tanh(features @ self.weights["first"] + self.weights["first_bias"])
        return hidden

    def _output(self, hidden: FloatArray) -> FloatArray:
        output: FloatArray = hidden @ self.weights["second"] + self.weights["second_bias"]
        return output

    def _step(self, gradients: dict[str, FloatArray], learning_rate: float) -> None:
        self._updates += 1
        rate = learning_rate * np.sqrt(1 - _DECAY_SQUARE**self._updates)
        rate = np.float32(rate / (1 - _DECAY_MEAN**self._updates))
        for name, gradient in gradients.items():
            mean, square = self._mean[name], self._square[name]
            mean += (1 - _DECAY_MEAN) * (gradient - mean)
            square += (1 - _DECAY_SQUARE) * (gradient**2 - square)
            self.weights[name] -= rate * mean / (np.sqrt(square) + _EPS)


Tensors = dict[str, npt.NDArray[np.generic]]


class ActionValues:
    """Q(state, action) for any count of heads.

    The value of pruning a head is a network over that head's features and what the agent has
    experienced with it, the same for every head; the value of STOP is another one over the pooled
    state. Both work in units of the largest return seen, so that rewards of any size are learned
    at the same pace.

    Args:
        metrics: Number of importance metrics M in the observation.
        hidden: Width of the networks.
        memory: Number of latest returns that are remembered, of heads and of STOP each.
        rng: Source of the first weights.
    """

    def __init__(self, metrics: int, hidden: int, memory: int, rng: np.random.Generator) -> None:
        widths = {"head": metrics + 2 + STATUS + experience.WIDTH, "stop": 2 * metrics + STATUS}
        self._experience = Experience()
        self._networks = {kind: QNetwork(width, hidden, rng) for kind, width in widths.items()}
        self._memories = {kind: _Memory(memory, width) for kind, width in widths.items()}
        self._scale = 0.0

    def __call__(self, observation: Observation, legal: BoolArray) -> FloatArray:
        """Return float32 (N, L * H + 1), in units of the reward; -inf where illegal.

        Args:
            observation: With a batch dimension of N.
            legal: Bool (N, L * H + 1).
        """
        heads = self._networks["head"](self._head_features(observation))
        stop = self._networks["stop"](pooled_features(observation))
        values: FloatArray = np.concatenate([heads, stop[:, None]], axis=1)
        values *= np.float32(self._scale)
        values[~legal] = -np.inf
        return values

    def features(self, observation: Observation, action: int) -> FloatArray:
        """Return what the value of `action` in a batch of one depends on."""
        heads = self._head_features(observation)[0]
        row: FloatArray = heads[action] if action < len(heads) else pooled_features(observation)[0]
        return row

    def add_step(
        self, before: Observation, action: int, reward: float, info: dict[str, Any]
    ) -> None:
        """Add one step to the experience with its head; see `Experience.add`."""
        self._experience.add(before, action, reward, info)

    def remember(self, features: list[FloatArray], stopped: bool, returns: FloatArray) -> None:
        """Add what the actions of an episode were worth.

        Heads are remembered twice, with their experience and without, so that the network also
        learns to judge the heads of a model that it has never played.

        Args:
            features: Of each action, as `features` gave them.
            stopped: Whether the last action was STOP.
            returns: Float32 (T,), in units of the reward.
        """
        self._experience.begin()
        self._scale = max(self._scale, float(np.abs(returns).max()))
        for index, (row, value) in enumerate(zip(features, returns, strict=True)):
            if stopped and index == len(features) - 1:
                self._memories["stop"].add(row, value)
                continue
            self._memories["head"].add(row, value)
            unknown = row.copy()
            unknown[-experience.WIDTH :] = 0
            self._memories["head"].add(unknown, value)

    def fit(
        self, updates: int, batch_size: int, learning_rate: float, rng: np.random.Generator
    ) -> float:
        """Take Adam steps on random batches of the memory.

        Returns:
            The mean squared error over them, as a share of the scale's square.
        """
        if self._scale == 0.0:
            return 0.0
        errors = []
        for _ in range(updates):
            for kind, network in self._networks.items():
                if self._memories[kind].filled:
                    features, returns = self._memories[kind].sample(batch_size, rng)
                    errors.append(network.fit(features, returns / self._scale, learning_rate))
        return float(np.mean(errors))

    def state(self, *, memory: bool = True) -> Tensors:
        """Return copies of everything learned, and remembered unless `memory` is False."""
        tensors: Tensors = {"scale": np.array([self._scale])}
        for part, holder in self._parts(memory=memory).items():
            tensors |= {f"{part}.{name}": value for name, value in holder.state().items()}
        return tensors

    def restore(self, tensors: Tensors) -> None:
        """Take over what `state` returned."""
        self._scale = float(tensors["scale"][0])
        for part, holder in self._parts().items():
            prefix = f"{part}."
            held = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            if held:
                holder.restore(held)

    def _head_features(self, observation: Observation) -> FloatArray:
        known = self._experience.features(observation["importance"])
        return np.concatenate([head_features(observation), known], axis=2)

    def _parts(self, *, memory: bool = True) -> dict[str, Any]:
        networks = {f"{kind}_network": network for kind, network in self._networks.items()}
        memories = {f"{kind}_memory": held for kind, held in self._memories.items()}
        return {"experience": self._experience, **networks, **(memories if memory else {})}


class _Memory:
    """The latest pairs of features and return; the oldest are overwritten."""

    def __init__(self, capacity: int, width: int) -> None:
        self._features = np.zeros((capacity, width), np.float32)
        self._returns = np.zeros(capacity, np.float32)
        self._added = 0

    @property
    def filled(self) -> int:
        return min(self._added, len(self._returns))

    def add(self, features: FloatArray, value: float) -> None:
        slot = self._added % len(self._returns)
        self._features[slot], self._returns[slot] = features, value
        self._added += 1

    def sample(self, size: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        chosen = rng.integers(self.filled, size=size)
        return self._features[chosen], self._returns[chosen]

    def state(self) -> Tensors:
        return {
            "features": self._features[: self.filled].copy(),
            "returns": self._returns[: self.filled].copy(),
            "added": np.array([self._added], np.int64),
        }

    def restore(self, tensors: Tensors) -> None:
        self._added = int(tensors["added"][0])
        self._features[: self.filled] = tensors["features"]
        self._returns[: self.filled] = tensors["returns"]
