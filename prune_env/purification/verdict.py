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
    right = measure(model, TestSets(validation), max_length=max_length).right
    return verdict(right, validation, tau, guard)


def verdict(
    right: npt.NDArray[np.bool_], validation: TextDataset, tau: float, guard: Guard
) -> Verdict:
    """Return the verdict on answers.

    The interval is Wilson's for accuracy and for the least recall; for the mean of the recalls
    those of the classes are put together as Newcombe (1998, method 10) does.

    Args:
        right: Bool (N,), which validation rows are right.
        validation: Their labels.
        tau: What must be kept, 0 to 1.
        guard: What is compared with it.
    """
    labels = validation.labels
    shares = {
        validation.label_names[label]: share(right[labels == label]) for label in np.unique(labels)
    }
    value = float(guarded(right[None], labels, guard)[0])
    recalls = {name: each.percent / 100 for name, each in shares.items()}
    low, high = _interval(share(right), list(shares.values()), guard)
    accuracy = float(right.mean())
    return Verdict(tau, guard, accuracy, value, min(low, value), high, recalls, len(right))


def _interval(whole: Share, classes: list[Share], guard: Guard) -> tuple[float, float]:
    """Return the ends of the 95 % interval of what a guard counts, 0 to 1."""
    if guard != "balanced":
        one = whole if guard == "accuracy" else min(classes, key=lambda each: each.percent)
        return one.low / 100, one.high / 100
    count = 100 * len(classes)
    middle = sum(each.percent for each in classes) / count
    below = math.sqrt(sum((each.percent - each.low) ** 2 for each in classes)) / count
    above = math.sqrt(sum((each.high - each.percent) ** 2 for each in classes)) / count
    return middle - below, middle + above
