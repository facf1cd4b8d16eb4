"""What tau is compared with: under skewed classes a constant answer has high accuracy."""

import hashlib
from dataclasses import replace
from typing import Final, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from prune_env.errors import UnknownNameError
from prune_env.evaluation.base import Evaluation, Evaluator
from prune_env.evaluation.metrics import Labels
from prune_env.models.masks import Mask
from prune_env.settings import Guard

GUARDS: Final = ("auto", "accuracy", "balanced", "recall")

EVEN: Final = 0.7
"""Part of its even share that the rarest class has at least where classes count as even: of two
classes 35 % of the rows. A constant answer then is right on 65 % at most."""

LEAST: Final = 1e-9
"""Under `balanced` and `recall` tau is never lower, so that 0 does not pass it."""


@runtime_checkable
class Remembering(Protocol):
    """An evaluator that can tell its labels, and remembers which samples were right."""

    @property
    def labels(self) -> Labels | None:
        """Int64 (S,)."""
        ...

    def correct(self, masks: Mask) -> npt.NDArray[np.bool_]:
        """Return which samples (N, S) are right under masks (N, L, H)."""
        ...


class GuardedEvaluator:
    """A view of an evaluator whose accuracy counts every class, whatever its number of rows.

    Args:
        evaluator: Who answers.
        guard: `balanced` or `recall`, see `guarded`.
    """

    def __init__(self, evaluator: Evaluator, guard: Guard) -> None:
        self.beneath = evaluator
        self.guard: Guard = guard

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and heads of a mask (L, H)."""
        return self.beneath.shape

    @property
    def available(self) -> Mask:
        """Bool (L, H), True where a head exists."""
        return self.beneath.available

    @property
    def evaluations(self) -> int:
        """Those of the evaluator beneath."""
        return self.beneath.evaluations

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the guard and of the fingerprint beneath."""
        return hashlib.sha256(f"{self.guard} {self.beneath.fingerprint}".encode()).hexdigest()

    def evaluate(self, masks: Mask) -> Evaluation:
        """Return the answers under masks (N, L, H), with what the guard makes of them."""
        answer = self.beneath.evaluate(masks)
        return replace(answer, accuracy=guarded(answer.correct, answer.labels, self.guard))

    def accuracy(self, masks: Mask) -> npt.NDArray[np.float64]:
        """Return the guarded accuracy (N,) under masks (N, L, H)."""
        if isinstance(self.beneath, Remembering) and self.beneath.labels is not None:
            return guarded(self.beneath.correct(masks), self.beneath.labels, self.guard)
        return self.evaluate(masks).accuracy


def guarded(
    correct: npt.NDArray[np.bool_], labels: Labels, guard: Guard
) -> npt.NDArray[np.float64]:
    """Return the value that tau is compared with, float64 (N,).

    Args:
        correct: Bool (N, S), which samples are right.
        labels: Int64 (S,); classes without a row do not count.
        guard: `accuracy`, the share of the right samples; `balanced`, the mean over the classes of
            their recalls, but 0 where only one class has any, as a constant answer has it;
            `recall`, the least of the recalls.

    Example:
        >>> right = np.array([[True, True, True, False], [True, True, False, True]])
        >>> guarded(right, np.array([0, 0, 0, 1]), "balanced").round(3)
        array([0.   , 0.833])
    """
    if guard == "accuracy":
        return cast(npt.NDArray[np.float64], correct.mean(axis=1))
    recalls = np.stack([correct[:, labels == label].mean(axis=1) for label in np.unique(labels)])
    if guard == "recall":
        return cast(npt.NDArray[np.float64], recalls.min(axis=0))
    alone = (len(recalls) > 1) & (np.count_nonzero(recalls, axis=0) <= 1)
    return np.where(alone, 0.0, recalls.mean(axis=0))


def choose_guard(guard: Guard, labels: Labels | None, tau: float | None = None) -> Guard:
    """Return the guard, `auto` resolved.

    Even classes stay under accuracy, to the digit as without a guard, wherever tau tells a model
    from a constant answer. A tau that a constant passes tells nothing at all (at 0.5 of two even
    classes every head may go): there `balanced` is meant to judge otherwise, and is on even
    classes the same number, up to rounding, for all but constants.

    Args:
        guard: As asked for; `auto` takes accuracy where classes are about even (see `EVEN`), and
            `balanced` elsewhere.
        labels: Int64 (S,); None where they are unknown, and `auto` then means accuracy.
        tau: Where it is known, `auto` takes accuracy only if the constant answer is below it.

    Raises:
        UnknownNameError: No guard has this name.
    """
    if guard not in GUARDS:
        raise UnknownNameError("guard", guard, GUARDS, "prune-env purify --help")
    if guard != "auto":
        return guard
    counts = np.array([0]) if labels is None else np.unique(labels, return_counts=True)[1]
    if len(counts) < 2:
        return "accuracy"
    shares = counts / counts.sum()
    even = shares.min() * len(counts) >= EVEN
    return "accuracy" if even and (tau is None or shares.max() < tau) else "balanced"


def guard_evaluator(evaluator: Evaluator, guard: Guard, tau: float | None = None) -> Evaluator:
    """Return the evaluator under a guard; itself, where that is plain accuracy or it has one."""
    if guard_of(evaluator) != "accuracy":
        return evaluator
    chosen = choose_guard(guard, labels_of(evaluator), tau)
    return evaluator if chosen == "accuracy" else GuardedEvaluator(evaluator, chosen)


def guarded_tau(tau: float, evaluator: Evaluator) -> float:
    """Return tau; under a guard of the classes, at least so much that no constant passes."""
    return tau if guard_of(evaluator) == "accuracy" else max(tau, LEAST)


class Threshold(Protocol):
    """Settings of an episode or of a search, which say how much accuracy to keep."""

    def threshold(self, accuracy: float) -> float:
        """Return the accuracy to keep, for a model that has this one unpruned."""
        ...


def tau_of(settings: Threshold, accuracy: float, evaluator: Evaluator) -> float:
    """Return the tau of a model: what its settings ask for, and `guarded_tau` where one judges.

    Args:
        settings: Of the episode or search.
        accuracy: Of the unpruned model, as `evaluator` counts it.
        evaluator: Who judges masks.
    """
    return guarded_tau(settings.threshold(accuracy), evaluator)


def guard_of(evaluator: Evaluator) -> Guard:
    """Return what an evaluator, or one beneath it, counts as accuracy."""
    if isinstance(evaluator, GuardedEvaluator):
        return evaluator.guard
    beneath: Evaluator | None = getattr(evaluator, "beneath", None)
    return "accuracy" if beneath is None else guard_of(beneath)


def unguarded(evaluator: Evaluator) -> Evaluator:
    """Return the evaluator that a guard views: its accuracy is the plain one."""
    return evaluator.beneath if isinstance(evaluator, GuardedEvaluator) else evaluator


def labels_of(evaluator: Evaluator) -> Labels | None:
    """Return the labels that an evaluator judges by, int64 (S,); None if it does not tell."""
    beneath: Evaluator | None = getattr(evaluator, "beneath", None)
    if beneath is not None:
        return labels_of(beneath)
    labels: Labels | None = getattr(evaluator, "labels", None)
    return labels
