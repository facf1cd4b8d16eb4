"""An evaluator with prescribed accuracies, and environments and subjects over it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.subject import Subject

Mask = npt.NDArray[np.bool_]


class PrescribedEvaluator:
    """Accuracy is a function of the mask; every mask that was asked for is kept in `asked`."""

    fingerprint = "prescribed"

    def __init__(
        self,
        accuracy_of: Callable[[Mask], float],
        shape: tuple[int, int] = (2, 4),
        available: Mask | None = None,
    ) -> None:
        self.accuracy_of = accuracy_of
        self.shape = shape
        self.available = np.ones(shape, np.bool_) if available is None else available
        self.asked: list[Mask] = []
        self.calls = 0

    @property
    def evaluations(self) -> int:
        return len(self.asked)

    def accuracy(self, masks: Mask) -> npt.NDArray[np.float64]:
        assert masks.shape[1:] == self.shape
        assert not (masks & ~self.available).any()
        self.calls += 1
        self.asked.extend(mask.copy() for mask in masks)
        return np.array([self.accuracy_of(mask) for mask in masks])

    def evaluate(self, masks: Mask) -> Any:
        raise NotImplementedError("an episode asks for accuracy alone")


def falls_by(cost: float, start: float = 1.0) -> Callable[[Mask], float]:
    """Every pruned head of 8 costs the same accuracy."""
    return lambda mask: start - cost * (8 - np.count_nonzero(mask))


def subject_over(evaluator: PrescribedEvaluator) -> Subject:
    importance = np.random.default_rng(0).random((*evaluator.shape, 1))
    return Subject(evaluator, importance, ("magnitude",))


def env_over(evaluator: PrescribedEvaluator, **arguments: Any) -> HeadPruningEnv:
    return HeadPruningEnv(subject_over(evaluator), **arguments)


def random_legal(info: dict[str, Any], random: np.random.Generator, stop: bool = True) -> int:
    legal = np.flatnonzero(info["action_mask"])
    if not stop and len(legal) > 1:
        legal = legal[:-1]
    return int(random.choice(legal))
