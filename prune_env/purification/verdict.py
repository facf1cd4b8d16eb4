"""Whether a purified model keeps tau, as far as its validation rows can tell."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.data.dataset import TextDataset
from prune_env.evaluation.guard import guarded
from prune_env.evaluation.metrics import Share, share
from prune_env.evaluation.scores import TestSets, measure
from prune_env.models import LoadedModel
from prune_env.settings import Guard


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
    """

    tau: float
    guard: Guard
    accuracy: float
    value: float
    low: float
    high: float
    recalls: dict[str, float]
    rows: int

    @property
    def keeps_tau(self) -> bool:
        """Whether the value is at tau or above."""
        return self.value >= self.tau

    @property
    def sure(self) -> bool:
        """Whether the whole interval lies on one side of tau."""
        return self.low >= self.tau or self.high < self.tau

    def to_json(self) -> dict[str, Any]:
        """Return what the report says of it."""
        return {
            "guard": self.guard,
            "value": self.value,
            "interval": [self.low, self.high],
            "sure": self.sure,
            "recalls": self.recalls,
            "rows": self.rows,
        }


def judge_tau(
    model: LoadedModel, validation: TextDataset, tau: float, guard: Guard, *, max_length: int = 128
) -> Verdict:
    """Measure a model on clean validation data and compare it with tau."""
    description = "Judging on validation sentences"
    sets = TestSets(validation)
    right = measure(model, sets, max_length=max_length, description=description).right
    return verdict(right, validation, tau, guard)


def verdict(
    right: npt.NDArray[np.bool_], validation: TextDataset, tau: float, guard: Guard
) -> Verdict:
    """Return the verdict on answers.

    Args:
        right: Bool (N,), which validation rows are right.
        validation: Their labels.
        tau: What must be kept, 0 to 1.
        guard: What is compared with it.
    """
    value = float(guarded(right[None], validation.labels, guard)[0])
    _, low, high = with_interval(right, validation.labels, guard)
    recalls = {
        validation.label_names[label]: float(right[validation.labels == label].mean())
        for label in np.unique(validation.labels)
    }
    accuracy, low = float(right.mean()), min(low, value)  # a constant answer counts as 0
    return Verdict(tau, guard, accuracy, value, low, high, recalls, len(right))


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
    count = 100 * len(classes)
    middle = sum(each.percent for each in classes) / count
    below = math.sqrt(sum((each.percent - each.low) ** 2 for each in classes)) / count
    above = math.sqrt(sum((each.high - each.percent) ** 2 for each in classes)) / count
    return middle, middle - below, middle + above


def _fractions(one: Share) -> tuple[float, float, float]:
    return one.percent / 100, one.low / 100, one.high / 100
