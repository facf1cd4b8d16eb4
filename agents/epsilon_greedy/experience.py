"""What pruning each head has led to so far, remembered by model."""

from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.agents.features import FloatArray
from prune_env.env.policy import Observation

WIDTH = 3
BROKE_TAU = 0.01


class Experience:
    """Sample averages of what followed when a head was pruned, as features of that head.

    The importance metrics know a head only from outside. Here the agent keeps, for every model
    that it has played, how often each head was pruned, and the mean reward and mean change of
    accuracy that followed: the sample averages of a bandit (Sutton and Barto, 2018, section 2.4).
    A model is recognised by its importance; heads of one that was never played have zeros.
    """

    def __init__(self) -> None:
        self._sums: dict[str, npt.NDArray[np.float64]] = {}
        self._unchecked: list[int] = []

    def features(self, importance: FloatArray) -> FloatArray:
        """Return what is known of every head.

        Args:
            importance: Float32 (N, L, H, M), as observed.

        Returns:
            Float32 (N, L * H, 3): n / (n + 1) after n prunings; the sum of rewards, times the
            number of heads, over n + 1; the sum of changes of accuracy, in points, over n + 1.
        """
        heads = importance.shape[1] * importance.shape[2]
        features = np.zeros((len(importance), heads, WIDTH), np.float32)
        for row, seen in zip(features, importance, strict=True):
            sums = self._sums.get(_key(seen))
            if sums is not None:
                row[:] = sums / (sums[:, :1] + 1) * [1, heads, 100]
        return features

    def add(self, before: Observation, action: int, reward: float, info: dict[str, Any]) -> None:
        """Remember one step.

        With `prune_step` above 1 nothing is known until the group is looked at; then its heads
        share in equal parts. A group that broke tau counts as one point below tau, since the
        environment does not tell how far it fell.

        Args:
            before: The observation, in a batch of one, in which the action was taken.
            action: A head, or STOP.
            reward: What the step paid.
            info: What the step told.
        """
        importance, (accuracy, margin) = before["importance"][0], before["status"][0, :2]
        heads = importance.shape[0] * importance.shape[1]
        if action < heads:
            self._unchecked.append(action)
        if info["unchecked"] or not self._unchecked:
            return
        change = -margin - BROKE_TAU if info["ended"] == "tau" else info["accuracy"] - accuracy
        sums = self._sums.setdefault(_key(importance), np.zeros((heads, WIDTH)))
        share = np.array([1, reward / len(self._unchecked), change / len(self._unchecked)])
        sums[self._unchecked] += share
        self._unchecked = []

    def begin(self) -> None:
        """Forget heads that a cut episode left unchecked."""
        self._unchecked = []

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return copies of everything remembered, by model."""
        return {key: sums.copy() for key, sums in self._sums.items()}

    def restore(self, tensors: dict[str, npt.NDArray[np.generic]]) -> None:
        """Take over what `state` returned."""
        self._sums = {key: sums.astype(np.float64) for key, sums in tensors.items()}


def _key(importance: FloatArray) -> str:
    return sha256(np.ascontiguousarray(importance).tobytes()).hexdigest()[:16]
