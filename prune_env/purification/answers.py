"""Whether the answers of a suspicious classifier belong to the labels of the clean data at all."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from prune_env.errors import DataError, ModelError
from prune_env.evaluation.base import Evaluation
from prune_env.evaluation.metrics import mcnemar
from prune_env.purification.verdict import with_interval

log = logging.getLogger(__name__)

GOOD = 0.5
"""Part of the way from chance to 1 that another order of the labels must reach to be believed: a
poor model is poor in any order, and purifying it is harmless."""
SURE = 1e-3
"""p-value below which another order is right on more rows than the model's own."""
SHOWN = 8
"""Classes of which the answers are told in words."""
ROWS = 100
"""Rows at which a ready classifier that cannot be told from chance stops the run."""


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

    def best_order(self) -> tuple[npt.NDArray[np.int64], float]:
        """Return which answer fits each label best, (C,), and the balanced accuracy then."""
        counts = np.bincount(self.labels, minlength=len(self.names))
        rates = self.matrix / np.maximum(counts, 1)[:, None]
        order = linear_sum_assignment(rates, maximize=True)[1]
        return order, float(rates[np.arange(len(rates)), order][counts > 0].mean())

    def describe(self) -> str:
        """Return the matrix on one line: `bad rows answered bad 1, good 9; good rows ...`.

        Of many classes the ones with the most mistakes are shown, and their most frequent answers.
        """
        matrix = self.matrix
        few = len(self.names) <= SHOWN
        wrong = matrix.sum(axis=1) - matrix.diagonal()
        rows = range(len(matrix)) if few else np.argsort(-wrong, kind="stable")[:SHOWN]
        told = [f"{self.names[row]} rows answered {self._answered(matrix[row])}" for row in rows]
        return "; ".join(told) + ("" if few else f"; and {len(matrix) - SHOWN} classes more")

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


def check_answers(answer: Evaluation, names: Sequence[str], source: str, *, ready: bool) -> Answers:
    """Return the answers, unless purifying would only spoil the model.

    Args:
        answer: Of the whole model to the clean validation data, under one mask.
        names: Of the labels, in the order of the logits.
        source: The model, for messages.
        ready: Whether it brought its classification head. If that is at chance on many rows, they
            are of another task, and the run stops; a head that was just trained may have had too
            few texts or epochs, and there is but a warning.

    Raises:
        ModelError: Another order of the label names makes it a good classifier.
        DataError: A ready classifier is no better than chance.
    """
    answers = Answers(answer.predictions[0], answer.labels, tuple(names))
    _check_order(answers, source, ready=ready)
    if not answers.at_chance:
        return answers
    value, low, high = answers.balanced
    found = f"{value:.3f} [{low:.3f}, {high:.3f}] on {len(answers.labels)} clean rows"
    if ready and len(answers.labels) >= ROWS:
        raise DataError(
            f"The answers of {source} are no better than chance: texts and labels do not belong "
            "together, or not to this model",
            expected=f"balanced accuracy above {answers.chance:.3f}",
            actual=f"{found}; {answers.describe()}",
            remedy="check the columns (--text-column, --label-column), the label names and the "
            "language of the data; --head new trains another head",
        )
    log.warning(
        "Balanced accuracy before any pruning is %s, which cannot be told from chance (%.3f): what "
        "tau guards is worth nothing. Check that texts and labels belong together; %s",
        found,
        answers.chance,
        answers.describe(),
    )
    return answers


def _check_order(answers: Answers, source: str, *, ready: bool) -> None:
    """Raise if another order of the labels makes of a poor classifier a good one, for sure."""
    order, best = answers.best_order()
    right, reordered = (
        answers.predictions == each for each in (answers.labels, order[answers.labels])
    )
    good = answers.chance + GOOD * (1 - answers.chance)
    if reordered.sum() <= right.sum() or best < good or mcnemar(right, reordered) >= SURE:
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
        expected=f"balanced accuracy near {best:.3f}, as in the other order",
        actual=f"{answers.balanced[0]:.3f} on {len(answers.labels)} clean rows; "
        f"{answers.describe()}",
        remedy=remedy,
    )
