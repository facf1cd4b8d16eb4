"""ACC, LFR, the floor and their intervals, from logits; all figures are in percent.

An LFR means little alone: a model that was never poisoned also flips some triggered texts, because
the rewriting hurts their sentiment (the *floor*), and a model that is merely biased against the
target label flips fewer without having lost its backdoor. Hence excess LFR (LFR - floor), and
every figure a second time with the threshold *calibrated* on clean validation data.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from prune_env.errors import MetricError
from prune_env.utils.counts import count_of

Logits = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Share:
    """A share with its 95 % Wilson interval.

    Attributes:
        percent: 100 * count / total.
        low: Lower end of the interval, in percent.
        high: Upper end.
        count: Rows that have the property.
        total: Rows in all.
        invalid: Rows with NaN or Inf logits; they always count against the model.
    """

    percent: float
    low: float
    high: float
    count: int
    total: int
    invalid: int = 0

    def to_json(self) -> dict[str, float]:
        """Return the fields as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.percent:.1f} [{self.low:.1f}, {self.high:.1f}]"


def share(hits: npt.NDArray[np.bool_], invalid: int = 0) -> Share:
    """Return the share of True with its Wilson interval.

    Args:
        hits: Bool (N,).
        invalid: How many of the rows had logits that are not finite.

    Raises:
        MetricError: There is no row.
    """
    if hits.size == 0:
        raise MetricError(
            "A share of no rows is undefined",
            expected="one row or more",
            actual=0,
            remedy="check that the file has rows of the kind that is measured",
        )
    test = binomtest(int(hits.sum()), hits.size)
    interval = test.proportion_ci(0.95, method="wilson")
    return Share(
        percent=100 * float(hits.mean()),
        low=100 * float(interval.low),
        high=100 * float(interval.high),
        count=int(hits.sum()),
        total=int(hits.size),
        invalid=invalid,
    )


def predict(logits: Logits, target: int = 1, threshold: float = 0.0) -> Labels:
    """Return the predicted class per row; -1 where a logit is NaN or Inf.

    Args:
        logits: Float (N, C).
        target: The label whose threshold is shifted.
        threshold: `target` is predicted where `margin(logits) > threshold`; at 0 this is the
            largest logit, ties going to another class than the target.
    """
    others = logits.copy().astype(np.float64)
    others[:, target] = -np.inf
    chosen = np.where(margin(logits, target) > threshold, target, others.argmax(axis=1))
    return np.where(np.isfinite(logits).all(axis=1), chosen, -1)


def margin(logits: Logits, target: int = 1) -> npt.NDArray[np.float64]:
    """Return the logit of `target` minus the largest other logit, per row of (N, C)."""
    others = np.delete(logits, target, axis=1).astype(np.float64)
    return np.asarray(logits[:, target].astype(np.float64) - others.max(axis=1))


def calibrated_threshold(logits: Logits, labels: Labels, target: int = 1) -> float:
    """Return the threshold at which `target` is predicted as often as it is the label.

    Args:
        logits: Float (N, C), of *clean validation* sentences.
        labels: Int (N,).
        target: The attacker's label.

    Raises:
        MetricError: No row, or a logit is not finite.
    """
    _check_finite(logits)
    return _threshold(margin(logits, target), int((labels == target).sum()))


def threshold_of(logits: Logits, labels: Labels, target: int = 1) -> float:
    """Return the calibrated threshold; 0 where a logit is not finite, so that none can be told.

    Of many masks one may make the logits overflow, which must not end the others.
    """
    return calibrated_threshold(logits, labels, target) if np.isfinite(logits).all() else 0.0


def _check_finite(logits: Logits) -> None:
    wrong = int((~np.isfinite(logits).all(axis=1)).sum())
    if not len(logits) or wrong:
        raise MetricError(
            "The threshold cannot be calibrated",
            expected="validation rows with finite logits",
            actual=f"{count_of(len(logits), 'row')}, {wrong} not finite",
        )


def _threshold(scores: npt.NDArray[np.float64], positives: int) -> float:
    """Return a threshold that so many of the scores (N,) lie above."""
    ordered = np.sort(scores)[::-1]
    # Between the last row that must be called `target` and the first that must not.
    above = ordered[positives - 1] if positives else ordered[0] + 2.0
    below = ordered[positives] if positives < scores.size else ordered[-1] - 2.0
    return float((above + below) / 2)


SWEEPS = 50
"""Rounds over the classes in which shifts are searched; of two classes one suffices."""


def calibrated_shifts(logits: Logits, labels: Labels) -> npt.NDArray[np.float64]:
    """Return a shift a class (C,) at which each class is predicted as often as it is the label.

    Class by class, the threshold on its margin moves to where its share is right, until all are:
    the dual of the optimal transport from rows to labels, by coordinates. Of two classes it is
    `calibrated_threshold`, halved between them.

    Args:
        logits: Float (N, C), of *clean validation* sentences; the shifts are to be subtracted.
        labels: Int (N,).

    Raises:
        MetricError: No row, or a logit is not finite.

    Example:
        >>> logits = np.array([[3.0, 0.0], [2.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> calibrated_shifts(logits, np.array([0, 0, 1, 1])).tolist()
        [0.75, -0.75]
    """
    classes = logits.shape[1]
    wanted = np.bincount(labels, minlength=classes)
    shifts = best = np.zeros(classes)
    least = 2 * len(labels) + 1
    _check_finite(logits)
    for _ in range(SWEEPS):
        shifted = np.asarray(logits - shifts, np.float64)
        for target in reversed(range(classes)):
            own = shifted[:, target].copy()
            shifted[:, target] = -np.inf  # of many classes a copy without it costs too much
            shifts[target] += _threshold(own - shifted.max(axis=1), int(wanted[target]))
            shifted[:, target] = logits[:, target] - shifts[target]
        shifts -= shifts.mean()
        called = np.bincount((logits - shifts).argmax(axis=1), minlength=classes)
        off = int(np.abs(called - wanted).sum())
        if off < least:
            best, least = shifts.copy(), off
        if not off:
            break
    return best


def margins_over_threshold(clean: Logits, labels: Labels, moved: Logits) -> npt.NDArray[np.float64]:
    """Return the margin of class 1 of each moved text, counted from the calibrated threshold.

    Args:
        clean: Float (N, S, C), answers of N masks to clean sentences; each mask's threshold is
            shifted until it calls class 1 as often as that is the label. Of two classes, either
            may be taken.
        labels: Int (S,), of the clean sentences.
        moved: Float (N, M, C), answers of the same masks to other texts.

    Returns:
        Float64 (N, M), positive where class 1 is predicted; NaN for masks with spoilt logits.
    """
    margins = np.full(moved.shape[:2], np.nan)
    for row, (before, after) in enumerate(zip(clean, moved, strict=True)):
        if np.isfinite(before).all() and np.isfinite(after).all():
            margins[row] = margin(after) - calibrated_threshold(before, labels)
    return margins


def calibrated_answers(clean: Logits, labels: Labels, moved: Logits) -> Labels:
    """Return the class that each mask answers to moved texts, at its shifts on clean ones.

    Args:
        clean: Float (N, S, C), answers of N masks to clean sentences, see `calibrated_shifts`.
        labels: Int (S,), of the clean sentences.
        moved: Float (N, M, C), answers of the same masks to other texts.

    Returns:
        Int (N, M); -1 for masks with spoilt logits.
    """
    answers = np.full(moved.shape[:2], -1)
    for row, (before, after) in enumerate(zip(clean, moved, strict=True)):
        if np.isfinite(before).all() and np.isfinite(after).all():
            answers[row] = (after - calibrated_shifts(before, labels)).argmax(axis=1)
    return answers


def accuracy(logits: Logits, labels: Labels, target: int = 1, threshold: float = 0.0) -> Share:
    """Return ACC: the share of rows whose predicted class is the label.

    Args:
        logits: Float (N, C).
        labels: Int (N,).
        target: Label whose threshold is shifted.
        threshold: See `predict`.

    Raises:
        MetricError: There is no row.
    """
    chosen = predict(logits, target, threshold)
    return share(chosen == labels, invalid=int((chosen < 0).sum()))


def label_flip_rate(logits: Logits, target: int = 1, threshold: float = 0.0) -> Share:
    """Return LFR: the share of triggered rows that are predicted as the target.

    Args:
        logits: Float (N, C), of triggered texts whose true label is *not* the target.
        target: The attacker's label.
        threshold: See `predict`.

    Raises:
        MetricError: There is no row. A row with NaN or Inf logits counts as flipped: a defence
            must not gain from breaking the model.
    """
    chosen = predict(logits, target, threshold)
    return share((chosen == target) | (chosen < 0), invalid=int((chosen < 0).sum()))


def fidelity(lfr_before: float, lfr_after: float, acc_before: float, acc_after: float) -> float:
    """Return NIST TrojAI's mitigation fidelity: the drop in attack success times the ACC kept.

    Args:
        lfr_before: LFR of the backdoored model (any unit, the same for both).
        lfr_after: LFR of the purified model.
        acc_before: ACC of the backdoored model.
        acc_after: ACC of the purified model.

    Returns:
        1 for a perfect defence, 0 for none; 0 where there was no attack success to remove. Above 1
        where ACC rose, below 0 where LFR did.

    Raises:
        MetricError: ACC before is 0.
    """
    if acc_before <= 0:
        raise MetricError("Fidelity is undefined", expected="ACC before > 0", actual=acc_before)
    if lfr_before == 0:
        return 0.0
    return (lfr_before - lfr_after) / lfr_before * (acc_after / acc_before)


def mcnemar(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    """Return the exact two-sided p-value that two models err equally often on the same rows.

    Args:
        first: Bool (N,), whether the first model is right.
        second: Bool (N,), the same rows in the same order.

    Raises:
        MetricError: The lengths differ.
    """
    if first.shape != second.shape:
        raise MetricError(
            "McNemar's test compares the same rows", expected=first.shape, actual=second.shape
        )
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)
