"""Whether a purified model keeps tau, as far as its validation rows can tell."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from prune_env.data.dataset import TextDataset
from prune_env.evaluation.guard import guarded
from prune_env.evaluation.metrics import Share, share
from prune_env.evaluation.scores import TestSets, measure
from prune_env.models import LoadedModel
from prune_env.settings import Guard


@dataclass(frozen=True)
class Change:
    """What became of the unpruned model's answers to the same rows.

    Attributes:
        unpruned: What the guard makes of the answers before any pruning, 0 to 1.
        lost: Rows that were right before and are wrong now.
        won: Rows that were wrong before and are right now.
        low: Lower end of the 95 % interval of what the value gained, -1 to 1.
        high: Upper end.
    """

    unpruned: float
    lost: int
    won: int
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """What a model does on clean validation data, against tau.

    Attributes:
        tau: What must be kept, 0 to 1.
        guard: What is compared with it, see `evaluation.guard`.
        accuracy: Share of the right rows, 0 to 1.
        value: What the guard makes of them, 0 to 1.
        low: Lower end of the 95 % interval of `value`.
        high: Upper end.
        recalls: Of each class that has rows, by name, 0 to 1.
        rows: Validation rows.
        change: Since before any pruning; None where those answers are unknown.
        relative: Whether tau was counted from the unpruned model's value on these rows: then the
            change judges it, whose interval is the narrower, since a row is hard or easy for both.
    """

    tau: float
    guard: Guard
    accuracy: float
    value: float
    low: float
    high: float
    recalls: dict[str, float]
    rows: int
    change: Change | None = None
    relative: bool = False

    @property
    def keeps_tau(self) -> bool:
        """Whether the value is at tau or above."""
        return self.value >= self.tau

    @property
    def sure(self) -> bool:
        """Whether the whole interval lies on one side of tau."""
        low, high = self.low, self.high
        if self.relative and self.change is not None:
            low, high = (self.change.unpruned + end for end in (self.change.low, self.change.high))
        return low >= self.tau or high < self.tau

    @property
    def judgement(self) -> Literal["kept", "not kept", "cannot be told"]:
        """Whether tau is kept as far as these rows tell; `keeps_tau` is the plain comparison."""
        if not self.sure:
            return "cannot be told"
        return "kept" if self.keeps_tau else "not kept"

    def to_json(self) -> dict[str, Any]:
        """Return what the report says of it."""
        return {
            "guard": self.guard,
            "value": self.value,
            "interval": [self.low, self.high],
            "sure": self.sure,
            "judgement": self.judgement,
            "change": self.change and asdict(self.change),
            "recalls": self.recalls,
            "rows": self.rows,
        }


def judge_tau(
    model: LoadedModel,
    validation: TextDataset,
    tau: float,
    guard: Guard,
    *,
    max_length: int = 128,
    before: npt.NDArray[np.bool_] | None = None,
    relative: bool = False,
) -> Verdict:
    """Measure a model on clean validation data and compare it with tau; see `verdict`."""
    description = "Judging on validation data"
    sets = TestSets(validation)
    right = measure(model, sets, max_length=max_length, description=description).right
    return verdict(right, validation, tau, guard, before=before, relative=relative)


def verdict(
    right: npt.NDArray[np.bool_],
    validation: TextDataset,
    tau: float,
    guard: Guard,
    *,
    before: npt.NDArray[np.bool_] | None = None,
    relative: bool = False,
) -> Verdict:
    """Return the verdict on answers.

    Args:
        right: Bool (N,), which validation rows are right.
        validation: Their labels.
        tau: What must be kept, 0 to 1.
        guard: What is compared with it.
        before: Bool (N,), which were right before any pruning, if that is known.
        relative: See `Verdict`.
    """
    labels = validation.labels
    value = float(guarded(right[None], labels, guard)[0])
    _, low, high = with_interval(right, labels, guard)
    recalls = {
        validation.label_names[label]: float(right[labels == label].mean())
        for label in np.unique(labels)
    }
    accuracy, low = float(right.mean()), min(low, value)  # a constant answer counts as 0
    change = None if before is None else compare(before, right, labels, guard)
    # A constant's value is not the mean of its recalls, and has no change that could be judged.
    relative = relative and change is not None and value > 0 and guard != "recall"
    return Verdict(
        tau, guard, accuracy, value, low, high, recalls, len(right), change, relative=relative
    )


def compare(
    before: npt.NDArray[np.bool_],
    right: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.int64],
    guard: Guard,
) -> Change:
    """Return what became of answers, with an interval that knows the rows are the same.

    Of accuracy and of each class, the share of the rows won less that of the rows lost: Wilson's
    intervals of both are put together, and those of classes then, as in `with_interval`. Where no
    answer changed that is wide too, as a bootstrap would not be. For the least recall, whose class
    may change, there is none: it is that of the mean.

    Args:
        before: Bool (N,), which rows were right.
        right: Bool (N,), which are.
        labels: Int64 (N,).
        guard: What is compared, see `evaluation.guard`.
    """
    classes = np.zeros_like(labels) if guard == "accuracy" else labels
    parts = [
        _paired(before[classes == each], right[classes == each]) for each in np.unique(classes)
    ]
    _, low, high = _mean(parts)
    return Change(
        unpruned=float(guarded(before[None], labels, guard)[0]),
        lost=int((before & ~right).sum()),
        won=int((right & ~before).sum()),
        low=low,
        high=high,
    )


def _paired(
    before: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Return by how much more rows are right, and the ends of the 95 % interval of that."""
    won, won_low, won_high = _fractions(share(right & ~before))
    lost, lost_low, lost_high = _fractions(share(before & ~right))
    gained = won - lost
    return (
        gained,
        gained - math.hypot(won - won_low, lost_high - lost),
        gained + math.hypot(won_high - won, lost - lost_low),
    )


def with_interval(
    right: npt.NDArray[np.bool_], labels: npt.NDArray[np.int64], guard: Guard
) -> tuple[float, float, float]:
    """Return accuracy, balanced accuracy or the least recall, and the ends of its 95 % interval.

    The interval is Wilson's for accuracy and for the least recall; for the mean of the recalls
    those of the classes are put together as Newcombe (1998, method 10) does.

    Args:
        right: Bool (N,), which rows are right.
        labels: Int64 (N,).
        guard: Which of the three, see `evaluation.guard`.
    """
    if guard == "accuracy":
        return _fractions(share(right))
    classes = [share(right[labels == label]) for label in np.unique(labels)]
    if guard == "recall":
        return _fractions(min(classes, key=lambda each: each.percent))
    return _mean([_fractions(each) for each in classes])


def _mean(parts: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """Return the mean of values with their intervals, and the ends of its own interval."""
    middle = sum(value for value, _, _ in parts) / len(parts)
    below = math.sqrt(sum((value - low) ** 2 for value, low, _ in parts)) / len(parts)
    above = math.sqrt(sum((high - value) ** 2 for value, _, high in parts)) / len(parts)
    return middle, middle - below, middle + above


def _fractions(one: Share) -> tuple[float, float, float]:
    return one.percent / 100, one.low / 100, one.high / 100
