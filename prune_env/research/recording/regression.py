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
        ridge: Of the weights.
    """

    centres: Places
    at: Floats
    weights: Floats
    mean: Floats
    scale: float
    ridge: float

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
        return cls(centres, at, weights, mean, scale, ridge)

    def __call__(self, signs: Floats) -> Floats:
        """Return the targets (N, T) at signs (N, H)."""
        predicted: Floats = _kernel(signs, self.at, self.scale) @ self.weights + self.mean
        return predicted


def best_fit(
    signs: Floats, targets: Floats, values: int, learning: Places, choosing: Places
) -> KernelFit:
    """Return the fit of some places whose scale and ridge err least on others.

    Args:
        signs: Float (N, H).
        targets: Float (N, T). Each of the first counts by itself, all that follow count as one.
        values: How many are counted by themselves.
        learning: Places (P,) to fit.
        choosing: Places (Q,) to judge by.
    """

    def error(fit: KernelFit) -> float:
        measured = targets[choosing]
        wrong = ((fit(signs[choosing]) - measured) ** 2).mean(axis=0)
        spread = np.maximum(measured.var(axis=0), 1e-12)
        together = wrong[values:].sum() / spread[values:].sum()
        return float((wrong[:values] / spread[:values]).sum() + together)

    heads = signs.shape[1]
    tried = (
        KernelFit.of(signs, targets, learning, share * heads, ridge)
        for share in SCALES
        for ridge in RIDGES
    )
    return min(tried, key=error)


def _kernel(left: Floats, right: Floats, scale: float) -> Floats:
    apart = (left.shape[1] - left @ right.T) / 2
    kernel: Floats = np.exp(-apart / scale)
    return kernel
