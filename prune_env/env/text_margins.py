"""The margins of the validation texts of a recorded model, and the accuracy that they tell."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

LOGISTIC = 1.702
"""A logistic curve of so many times the slope is within 0.01 of the normal distribution's."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TextMargins:
    """Margins of texts: what they are at the mean, and a few modes in which they move together.

    Single answers come and go with a mask in steps; margins move smoothly, so they are predicted
    from fewer masks, and all of them together tell the accuracy.

    Attributes:
        mean: Float (S,), of the logit of the label minus the largest other one.
        spread: Float (S,), how far the margin of a text is from its prediction, as a standard
            deviation.
        modes: Float (K, S), orthonormal.
        offset: By which more of all texts are right, at the mean, than of these.
    """

    mean: Floats
    spread: Floats
    modes: Floats
    offset: float = 0.0

    @classmethod
    def of(cls, margins: Floats, modes: int) -> Self:
        """Return so many modes, at most, of margins (N, S), the widest first; of spread 1."""
        mean = margins.mean(axis=0)
        moved = margins - mean
        _, directions = np.linalg.eigh(moved.T @ moved)
        return cls(mean, np.ones(len(mean)), directions[:, : -modes - 1 : -1].T)

    def scores(self, margins: Floats) -> Floats:
        """Return how far margins (N, S) have moved in each mode, (N, K)."""
        scores: Floats = (margins - self.mean) @ self.modes.T
        return scores

    def margins(self, scores: npt.NDArray[np.floating]) -> Floats:
        """Return the margins (..., S) at scores (..., K)."""
        margins: Floats = self.mean + scores @ self.modes
        return margins

    def accuracy(self, scores: npt.NDArray[np.floating]) -> Floats:
        """Return the accuracy (...,) that is expected at scores (..., K)."""
        odds = LOGISTIC / 2 * self.margins(scores) / self.spread
        right = (0.5 + 0.5 * np.tanh(odds)).mean(axis=-1)
        accuracy: Floats = np.clip(right + self.offset, 0, 1)
        return accuracy
