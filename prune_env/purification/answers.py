"""Whether the answers of a suspicious classifier belong to the labels of the clean data at all."""

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from prune_env.errors import DataError, ModelError
from prune_env.evaluation.base import Evaluation
from prune_env.evaluation.metrics import mcnemar

log = logging.getLogger(__name__)

GAIN = 0.1
"""Balanced accuracy that another order of the labels must gain to be believed."""
SURE = 1e-3
"""p-value below which another order is right on more rows than the model's own."""
ROWS = 100
"""Rows at which answers that cannot be told from chance stop the run; fewer only warn."""
ONE_SIDED = 1.645


def check_answers(answer: Evaluation, label_names: Sequence[str], source: str) -> None:
    """Stop where purifying would only spoil: the labels are reversed, or the answers say nothing.

    Args:
        answer: Of the whole model to the clean validation data, under one mask.
        label_names: In the order of the logits.
        source: The model, for messages.

    Raises:
        ModelError: Another order of the label names fits the answers much better.
        DataError: The answers are no better than chance.
    """
    labels, predictions = answer.labels, answer.predictions[0]
    counts = np.bincount(labels, minlength=len(label_names))
    if np.count_nonzero(counts) < 2:
        return
    matrix = confusion(predictions, labels, len(label_names))
    rates = matrix / np.maximum(counts, 1)[:, None]
    order = linear_sum_assignment(rates, maximize=True)[1]
    present = counts > 0
    balanced, best = (
        float(rates[np.arange(len(rates)), each][present].mean())
        for each in (np.arange(len(rates)), order)
    )
    if (
        best - balanced > GAIN
        and mcnemar(predictions == labels, predictions == order[labels]) < SURE
    ):
        meant = ", ".join(
            f"{name} for {label_names[own]}"
            for name, own in zip(label_names, order, strict=True)
            if name != label_names[own]
        )
        raise ModelError(
            f"The label order of {source} looks reversed: it would answer {meant}",
            expected=f"balanced accuracy near {best:.3f}, as in the other order",
            actual=f"{balanced:.3f} on {len(labels)} clean rows; {describe(matrix, label_names)}",
            remedy="correct id2label and label2id in config.json, or the labels of the data "
            "(--label-names gives the names of the labels 0, 1, ...)",
        )
    chance = 1 / np.count_nonzero(present)
    near = ONE_SIDED * float(np.sqrt((chance * (1 - chance) / counts[present]).sum())) * chance
    if balanced > chance + near:
        return
    if len(labels) < ROWS:
        log.warning(
            "On %d clean rows the balanced accuracy %.3f cannot be told from chance, %.3f",
            len(labels),
            balanced,
            chance,
        )
        return
    raise DataError(
        f"The answers of {source} are no better than chance: texts and labels do not belong "
        "together",
        expected=f"balanced accuracy above {chance + near:.3f} (chance is {chance:.3f})",
        actual=f"{balanced:.3f} on {len(labels)} clean rows; {describe(matrix, label_names)}",
        remedy="check the columns (--text-column, --label-column), the label names and the "
        "language of the data, or bring more of it",
    )


def confusion(
    predictions: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.int64]:
    """Return rows by label and answer, int64 (C, C); answers that are no class are left out."""
    matrix = np.zeros((classes, classes), np.int64)
    known = predictions >= 0
    np.add.at(matrix, (labels[known], predictions[known]), 1)
    return matrix


def describe(matrix: npt.NDArray[np.int64], names: Sequence[str]) -> str:
    """Return a confusion matrix (C, C) on one line.

    Example:
        >>> describe(np.array([[1, 9], [8, 2]]), ("bad", "good"))
        'bad rows answered bad 1, good 9; good rows answered bad 8, good 2'
    """
    return "; ".join(
        f"{own} rows answered "
        + ", ".join(f"{name} {count}" for name, count in zip(names, row, strict=True))
        for own, row in zip(names, matrix.tolist(), strict=True)
    )
