"""Whether the answers of a suspicious classifier belong to the labels of the clean data at all."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from prune_env.errors import DataError, ModelError
from prune_env.evaluation.base import Evaluation
from prune_env.evaluation.metrics import mcnemar
from prune_env.evaluation.suspect import Suspect
from prune_env.purification.verdict import with_interval
from prune_env.settings import Guard
from prune_env.utils.counts import count_of

log = logging.getLogger(__name__)

GOOD = 0.5
"""Part of the way from chance to 1 that another order of the labels must reach to be believed: a
poor model is poor in any order, and purifying it is harmless."""
SURE = 1e-3
"""p-value below which another order is right on more rows than the model's own."""
SHOWN = 8
"""Classes of which the answers are told in words."""
ROWS = 100
"""Rows at which a ready classifier that cannot be told from chance stops the run; one that is
surely worse than chance does so on any number."""
ASKED = 2000
"""Training rows that a ready classifier is asked at most, where validation rows leave a doubt."""


NEEDED: dict[Guard, str] = {
    "accuracy": "right answers",
    "balanced": "right answers to rows of two classes or more",
    "recall": "right answers to rows of every class",
}
"""What a model must have for tau to be more than 0."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What the whole model, no head pruned, answers to clean validation data.

    Attributes:
        predictions: Int64 (N,), -1 where a logit is not finite.
        labels: Int64 (N,).
        names: Of the labels, in the order of the logits.
    """

    predictions: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]

    @cached_property
    def matrix(self) -> npt.NDArray[np.int64]:
        """Rows by label and answer, int64 (C, C); answers that are no class are left out."""
        matrix = np.zeros((len(self.names), len(self.names)), np.int64)
        known = self.predictions >= 0
        np.add.at(matrix, (self.labels[known], self.predictions[known]), 1)
        return matrix

    @cached_property
    def balanced(self) -> tuple[float, float, float]:
        """Balanced accuracy, 0 to 1, and the ends of its 95 % interval."""
        return with_interval(self.predictions == self.labels, self.labels, "balanced")

    @property
    def chance(self) -> float:
        """Balanced accuracy of answers that know nothing, 0 to 1."""
        return 1 / len(np.unique(self.labels))

    @property
    def at_chance(self) -> bool:
        """Whether the answers cannot be told from such, or are worse."""
        return len(np.unique(self.labels)) > 1 and self.balanced[1] <= self.chance

    @property
    def below_chance(self) -> bool:
        """Whether they are surely worse."""
        return self.balanced[2] < self.chance

    def and_those(self, answer: Evaluation) -> "Answers":
        """Return these answers and those to other rows, under one mask."""
        return Answers(
            np.concatenate([self.predictions, answer.predictions[0]]),
            np.concatenate([self.labels, answer.labels]),
            self.names,
        )

    def best_order(self) -> tuple[npt.NDArray[np.int64], float]:
        """Return which answer fits each label best, (C,), and the balanced accuracy then."""
        counts = np.bincount(self.labels, minlength=len(self.names))
        rates = self.matrix / np.maximum(counts, 1)[:, None]
        order = linear_sum_assignment(rates, maximize=True)[1]
        return order, float(rates[np.arange(len(rates)), order][counts > 0].mean())

    def better_order(self) -> npt.NDArray[np.int64] | None:
        """Return the order that makes a good classifier of a poorer one, (C,), if there is one."""
        order, best = self.best_order()
        right, reordered = self.right_in(order)
        good = self.chance + GOOD * (1 - self.chance)
        return order if reordered.sum() > right.sum() and best >= good else None

    def right_in(self, order: npt.NDArray[np.int64]) -> list[npt.NDArray[np.bool_]]:
        """Return which rows are right, bool (N,): as it is, and in another order."""
        return [self.predictions == each for each in (self.labels, order[self.labels])]

    def describe(self) -> str:
        """Return the matrix on one line: `bad rows answered bad 1, good 9; good rows ...`.

        Of many classes the ones with the most mistakes are shown, and their most frequent answers.
        """
        matrix = self.matrix
        few = len(self.names) <= SHOWN
        wrong = matrix.sum(axis=1) - matrix.diagonal()
        rows = range(len(matrix)) if few else np.argsort(-wrong, kind="stable")[:SHOWN]
        told = [f"{self.names[row]} rows answered {self._answered(matrix[row])}" for row in rows]
        return "; ".join(told) + (
            "" if few else f"; and {count_of(len(matrix) - SHOWN, 'class')} more"
        )

    def _answered(self, counts: npt.NDArray[np.int64]) -> str:
        """Return how often each class was answered."""
        few = len(counts) <= SHOWN
        order = range(len(counts)) if few else np.argsort(-counts, kind="stable")[:SHOWN]
        return ", ".join(f"{self.names[each]} {counts[each]}" for each in order)

    def to_json(self) -> dict[str, Any]:
        """Return what the report says of it."""
        value, low, high = self.balanced
        rows = zip(self.names, self.matrix.tolist(), strict=True)
        return {
            "balanced_accuracy": value,
            "interval": [low, high],
            "chance": self.chance,
            "at_chance": self.at_chance,
            "confusion": {own: dict(zip(self.names, row, strict=True)) for own, row in rows},
        }


def answer_training_rows(suspect: Suspect) -> Evaluation:
    """Return what the whole model answers to a part of its training rows, at most `ASKED`."""
    rows = suspect.train.sample(min(ASKED, len(suspect.train)), np.random.default_rng(0))
    evaluator = suspect.evaluator_on(rows)
    return evaluator.evaluate(evaluator.available[None])


def check_answers(
    answer: Evaluation,
    names: Sequence[str],
    source: str,
    *,
    ready: bool,
    more: Callable[[], Evaluation] | None = None,
) -> Answers:
    """Return the answers, unless purifying would only spoil the model.

    Args:
        answer: Of the whole model to the clean validation data, under one mask.
        names: Of the labels, in the order of the logits.
        source: The model, for messages.
        ready: Whether it brought its classification head. If that is at chance on many rows, they
            are of another task, and the run stops; a head that was just trained may have had too
            few texts or epochs, and there is but a warning.
        more: Its answers to clean rows that it has not seen either, such as the training rows of a
            ready classifier; asked only where the validation rows leave a doubt.

    Returns:
        Those to the validation data.

    Raises:
        ModelError: Another order of the label names makes it a good classifier.
        DataError: A ready classifier is no better than chance, or surely worse.
    """
    own = answers = Answers(answer.predictions[0], answer.labels, tuple(names))
    if more is not None and (own.at_chance or own.better_order() is not None):
        answers = own.and_those(more())
    _check_order(answers, source, ready=ready)
    if not answers.at_chance:
        return own
    value, low, high = answers.balanced
    found = f"{value:.3f} [{low:.3f}, {high:.3f}] on {count_of(len(answers.labels), 'clean row')}"
    if ready and (answers.below_chance or len(answers.labels) >= ROWS):
        raise DataError(
            f"The answers of {source} are {'worse' if answers.below_chance else 'no better'} than "
            "chance: rows and labels do not belong together, or not to this model",
            expected=f"balanced accuracy above {answers.chance:.3f}",
            actual=f"{found}; {answers.describe()}",
            remedy="check the columns (--text-column or --image-column, --label-column), the label "
            "names, and of texts the language; --head new trains another head",
        )
    log.warning(
        "Balanced accuracy before any pruning is %s, which cannot be told from chance (%.3f): what "
        "tau guards is worth nothing. Check that rows and labels belong together; %s",
        found,
        answers.chance,
        answers.describe(),
    )
    return own


def require_a_guard(answers: Answers, guard: Guard, source: str, *, ready: bool) -> None:
    """Refuse a model that has 0 of what tau would guard, as any has; of a new head, warn.

    Args:
        answers: Of the whole model.
        guard: What is 0 of them.
        source: The model, for messages.
        ready: See `check_answers`.

    Raises:
        DataError: It is a ready classifier.
    """
    problem = f"Before any pruning, {source} has 0 of what tau guards ({guard}): any model has that"
    if ready:
        raise DataError(
            problem,
            expected=NEEDED[guard],
            actual=f"{count_of(len(answers.labels), 'clean row')}; {answers.describe()}",
            remedy="check the columns and the label names, bring more validation rows, or choose "
            "another --guard",
        )
    log.warning(
        "%s, so nothing is guarded. Bring more rows, or train the head longer (--epochs) or faster "
        "(--learning-rate)",
        problem,
    )


def _check_order(answers: Answers, source: str, *, ready: bool) -> None:
    """Raise if another order of the labels makes of a poor classifier a good one, for sure."""
    order = answers.better_order()
    if order is None or mcnemar(*answers.right_in(order)) >= SURE:
        return
    names = answers.names
    meant = ", ".join(
        f"{name} for {names[own]}"
        for name, own in zip(names, order, strict=True)
        if name != names[own]
    )
    what = f"The label order of {source} looks reversed"
    remedy = (
        "correct id2label and label2id in config.json, or the labels of the data (--label-names "
        "gives the names of the labels 0, 1, ...)"
    )
    if not ready:
        what = f"The head that was trained for {source} takes the classes for one another"
        remedy = (
            "train it longer (--epochs) or faster (--learning-rate), if few rows or steps were all "
            "it had; else the labels of the validation data are not those of the training data"
        )
    raise ModelError(
        f"{what}: it would answer {meant}",
        expected=f"balanced accuracy near {answers.best_order()[1]:.3f}, as in the other order",
        actual=f"{answers.balanced[0]:.3f} on {count_of(len(answers.labels), 'clean row')}; "
        f"{answers.describe()}",
        remedy=remedy,
    )
