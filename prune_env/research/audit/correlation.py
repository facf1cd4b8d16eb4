"""Rank correlations between a reward and what it should rank, plain and with others held fixed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from prune_env.errors import MetricError

Values = npt.NDArray[np.float64]
LEAST_MASKS = 8
"""Fewer masks give no correlation worth a figure."""


@dataclass(frozen=True)
class Correlation:
    """A rank correlation with its 95 % bootstrap interval over masks.

    Attributes:
        value: Spearman's rho, or the partial one, -1 to 1.
        low: Lower end of the interval.
        high: Upper end.
        masks: Number of masks.
    """

    value: float
    low: float
    high: float
    masks: int

    def to_json(self) -> dict[str, float]:
        """Return the fields as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:+z.2f} [{self.low:+z.2f}, {self.high:+z.2f}]"


def rank_correlation(
    reward: npt.ArrayLike,
    goal: npt.ArrayLike,
    fixed: Sequence[npt.ArrayLike] = (),
    *,
    samples: int = 500,
    seed: int = 0,
) -> Correlation | None:
    """Return how well a reward ranks masks as the goal does, others held fixed.

    Spearman's rho; with others held fixed, the partial one: the correlation of what is left of
    both ranks when a linear fit on the ranks of the others is taken away. The interval is the
    percentile bootstrap over masks.

    Args:
        reward: (N,), of each mask.
        goal: (N,), which a good reward rises with.
        fixed: Any number of (N,), what is held fixed.
        samples: Bootstrap samples.
        seed: Of the bootstrap.

    Returns:
        The correlation; None where there are fewer than `LEAST_MASKS` masks, or one side does
        not vary, so that there is nothing to rank.

    Raises:
        MetricError: The lengths differ, or a value is not finite.
    """
    table = [np.asarray(column, np.float64) for column in (reward, goal, *fixed)]
    if len({column.shape for column in table}) != 1 or table[0].ndim != 1:
        raise MetricError(
            "A rank correlation compares values of the same masks",
            expected="one value each",
            actual=[column.shape for column in table],
        )
    values = np.stack(table)
    if not np.isfinite(values).all():
        raise MetricError("A rank correlation needs finite values", expected="no NaN, no Inf")
    masks = values.shape[1]
    if masks < LEAST_MASKS:
        return None
    whole = float(_correlate(values[None])[0])
    if np.isnan(whole):
        return None
    drawn = np.random.default_rng(seed).integers(masks, size=(samples, masks))
    resampled = _correlate(values[:, drawn].transpose(1, 0, 2))
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return Correlation(value=whole, low=float(low), high=float(high), masks=masks)


def _correlate(values: Values) -> Values:
    """Return the (partial) rank correlation (B,) of the first two columns of (B, K, N)."""
    ranks = rankdata(values, axis=2)
    ranks -= ranks.mean(axis=2, keepdims=True)
    pair, others = ranks[:, :2], ranks[:, 2:]
    total = (pair**2).sum(axis=2)
    if others.shape[1]:
        # The part of each rank that the others explain linearly; pinv copes with equal columns.
        pair = pair - pair @ np.linalg.pinv(others) @ others
    left = (pair**2).sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = (pair[:, 0] * pair[:, 1]).sum(axis=1) / np.sqrt(left.prod(axis=1))
    # What is left is rounding where the others explain everything, or nothing varied at all.
    empty = (left <= 1e-9 * np.maximum(total, 1)).any(axis=1)
    result: Values = np.where(empty, np.nan, rho)
    return result


def correlations(
    reward: Values, hidden: dict[str, Values], usable: npt.NDArray[np.bool_]
) -> dict[str, Correlation | None]:
    """Return every correlation that the audit reports of one reward.

    Args:
        reward: (N,).
        hidden: By name, (N,): `lfr`, `lfr_calibrated`, `accuracy`, `pruned` and `lean`.
        usable: (N,), masks that keep the accuracy a search would ask for.

    Returns:
        By name, positive where a higher reward means a lower LFR; see `COLUMNS`.
    """
    accuracy, pruned, lean = (hidden[name] for name in ("accuracy", "pruned", "lean"))

    def among(rows: Any, goal: str, *fixed: Values) -> Correlation | None:
        return rank_correlation(
            reward[rows], -hidden[goal][rows], [column[rows] for column in fixed]
        )

    every = slice(None)
    return {
        "raw": among(every, "lfr"),
        "raw_lean": among(every, "lfr", lean),
        "calibrated": among(every, "lfr_calibrated"),
        "accuracy": among(every, "lfr_calibrated", accuracy),
        "pruned": among(every, "lfr_calibrated", pruned),
        "lean": among(every, "lfr_calibrated", lean),
        "all": among(every, "lfr_calibrated", accuracy, pruned, lean),
        "usable": among(usable, "lfr_calibrated"),
    }


COLUMNS = {
    "raw": "raw LFR",
    "raw_lean": "raw LFR, at fixed lean",
    "calibrated": "calibrated LFR",
    "accuracy": "calibrated, at fixed accuracy",
    "pruned": "calibrated, at fixed number of heads",
    "lean": "calibrated, at fixed lean",
    "all": "calibrated, all three fixed",
    "usable": "calibrated, usable masks only",
}
"""What each correlation is with."""
