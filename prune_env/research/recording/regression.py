"""Kernel ridge regression over masks: those that differ in few heads are alike."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

CENTRES = 1_500
"""Measured masks that a prediction looks at; all others are fitted as well."""
RIDGES = (1e-4, 1e-2, 1.0)
SCALES = (0.25, 0.5, 1.0, 2.0)
"""Distances at which masks are alike, as shares of the number of heads."""
JITTER = 1e-9

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class KernelFit:
    """Kernel ridge regression whose centres are some of the masks.

    Attributes:
        centres: Int (C,), places of the masks.
        at: Float (C, H), their heads, 1 where pruned and else -1 (or the other way round).
        weights: Float (C, T).
        mean: Float (T,).
        scale: Of the kernel, in heads.
    """

    centres: Places
    at: Floats
    weights: Floats
    mean: Floats
    scale: float

    @classmethod
    def of(cls, signs: Floats, targets: Floats, places: Places, scale: float, ridge: float) -> Self:
        """Fit targets (N, T) at signs (N, H), of these places (P,) alone, the first as centres."""
        centres = places[:CENTRES]
        at, wanted = signs[centres], targets[places]
        mean = wanted.mean(axis=0)
        between, among = _kernel(signs[places], at, scale), _kernel(at, at, scale)
        # Of more masks than centres, the weights that fit all of them best.
        normal = between.T @ between + ridge * among + JITTER * np.eye(len(centres))
        weights = np.linalg.solve(normal, between.T @ (wanted - mean))
        return cls(centres, at, weights, mean, scale)

    def __call__(self, signs: Floats) -> Floats:
        """Return the targets (N, T) at signs (N, H)."""
        predicted: Floats = _kernel(signs, self.at, self.scale) @ self.weights + self.mean
        return predicted


def cross_validated(
    signs: Floats, targets: Floats, values: int, places: Places, folds: Places
) -> tuple[float, float, Floats]:
    """Return the scale and the ridge that err least on folds that were not fitted.

    Args:
        signs: Float (N, H).
        targets: Float (N, T). Each of the first counts by itself, all that follow count as one.
        values: How many are counted by themselves.
        places: Places (P,) of what is known.
        folds: Int (P,), the fold of each.

    Returns:
        Scale, ridge, and what was predicted of each place while its fold was left out, (P, T).
    """
    known = targets[places]
    variance = np.maximum(known.var(axis=0), 1e-12)

    def predicted(scale: float, ridge: float) -> Floats:
        told = np.empty_like(known)
        for fold in np.unique(folds):
            out = folds == fold
            fit = KernelFit.of(signs, targets, places[~out], scale, ridge)
            told[out] = fit(signs[places[out]])
        return told

    def error(told: Floats) -> float:
        wrong = ((told - known) ** 2).mean(axis=0)
        together = wrong[values:].sum() / variance[values:].sum()
        return float((wrong[:values] / variance[:values]).sum() + together)

    scales = (share * signs.shape[1] for share in SCALES)
    tried = ((scale, ridge, predicted(scale, ridge)) for scale in scales for ridge in RIDGES)
    return min(tried, key=lambda each: error(each[2]))


def _kernel(left: Floats, right: Floats, scale: float) -> Floats:
    apart = (left.shape[1] - left @ right.T) / 2
    kernel: Floats = np.exp(-apart / scale)
    return kernel
