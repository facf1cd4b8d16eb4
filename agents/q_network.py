"""A small regression network in numpy: one hidden layer, squared error, Adam."""

import numpy as np
import numpy.typing as npt

from prune_env.agents.features import FloatArray

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
