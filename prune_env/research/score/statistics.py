"""Means that a few odd runs cannot carry away, and how sure they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DRAWS = 2_000
CUT = 0.25
"""Share of the runs that is left out at either end."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """An interquartile mean with its 95 % interval.

    Attributes:
        mean: Interquartile mean.
        low: Lower end.
        high: Upper end.
    """

    mean: float
    low: float
    high: float


def estimate(by_task: Sequence[Sequence[float]], *, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Return the interquartile mean over the runs of all tasks, with a bootstrap interval.

    The runs of each task are drawn anew from among themselves (strata), so that no task counts
    more or less than it does: Agarwal et al., "Deep Reinforcement Learning at the Edge of the
    Statistical Precipice" (NeurIPS 2021). Their library `rliable` does the same with `trim_mean`;
    it would bring seven further packages for these lines.

    Args:
        by_task: Scores of the runs of each task.
        draws: Of the bootstrap.
        seed: Of the bootstrap.

    Example:
        >>> estimate([[0.0, 1.0, 2.0, 30.0]]).mean
        1.5
    """
    random = np.random.default_rng(seed)
    tasks = [np.asarray(runs, np.float64) for runs in by_task]
    drawn = [runs[random.integers(len(runs), size=(draws, len(runs)))] for runs in tasks]
    means = interquartile_means(np.concatenate(drawn, axis=1))
    low, high = np.percentile(means, (2.5, 97.5))
    mean = interquartile_means(np.concatenate(tasks)[None])[0]
    return Estimate(float(mean), float(low), float(high))


def interquartile_means(values: Floats) -> Floats:
    """Return the mean of the middle half of each row (N, R), float64 (N,).

    Of R runs, `int(R / 4)` are left out at either end.
    """
    from scipy.stats import trim_mean  # noqa: PLC0415 - a second of imports

    means: Floats = trim_mean(values, CUT, axis=1)
    return means
