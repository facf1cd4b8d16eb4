"""What a model that is being changed answers to clean validation data, read once and for all."""

import numpy as np
import numpy.typing as npt

from prune_env.data.dataset import TextDataset
from prune_env.evaluation.guard import guarded
from prune_env.evaluation.metrics import calibrated_shifts, mcnemar
from prune_env.evaluation.quick import QuickAnswers
from prune_env.evaluation.separation import separation
from prune_env.models import LoadedModel
from prune_env.models.forward import Floats, vectors
from prune_env.models.inputs import make_rows
from prune_env.settings import Guard

FEW = 500
"""Rows below which a preference for some classes must be shown before it is taken out: on 100 rows
that a classifier had seen, the shift between two neighbouring margins cost 2 points of ACC."""
SURE = 0.05
"""p-value that shows it."""


class Judge:
    """Answers of a classifier to clean data, as its weights are at the time.

    Evaluators refuse weights that are not those of their start; this is asked after every change.
    In bf16 where that is fast.

    Args:
        loaded: A classifier of texts or images.
        data: Clean data, labels in the order of the logits.
        max_length: Tokens kept of a text.
        guard: What counts as accuracy, as tau does, see `evaluation.guard.guarded`.
    """

    def __init__(
        self, loaded: LoadedModel, data: TextDataset, max_length: int, guard: Guard = "accuracy"
    ) -> None:
        self._model = loaded.model
        self._answers = QuickAnswers(loaded.model)
        self._guard: Guard = guard
        self._labels = data.labels
        self._rows = make_rows(list(data.texts), loaded.tokenizer, max_length)

    def accuracy(self, logits: Floats | None = None, *, first: int | None = None) -> float:
        """Return what the guard counts as accuracy (0 to 1), at calibrated shifts.

        Args:
            logits: What `logits` returned; None asks.
            first: Rows that count, the first ones; None counts all.
        """
        logits, labels = self._known(logits)[:first], self._labels[:first]
        answers = (logits - calibrated_shifts(logits, labels)).argmax(axis=1)
        return float(guarded((answers == labels)[None], labels, self._guard)[0])

    def separation(self, logits: Floats | None = None) -> float:
        """Return how well the answers tell the classes apart, see `evaluation.separation`.

        Args:
            logits: What `logits` returned; None asks.
        """
        return separation(self._known(logits), self._labels)

    def right(self) -> npt.NDArray[np.bool_]:
        """Return which rows (N,) are answered rightly as they are, no shift made."""
        return np.asarray(self.logits().argmax(axis=1) == self._labels)

    def shifts(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the shifts (C,) at which each class is answered as often as it is the label.

        None, zero, where rows are few and their answers show no preference.

        Args:
            logits: What `logits` returned.
        """
        if len(self._labels) < FEW and not self._prefers(logits.argmax(axis=1)):
            return np.zeros(logits.shape[1])
        return calibrated_shifts(logits, self._labels)

    def _prefers(self, answers: npt.NDArray[np.int64]) -> bool:
        """Whether some class is answered surely more, or less, often than it is the label."""
        classes = np.union1d(answers, self._labels)
        found = (mcnemar(answers == label, self._labels == label) for label in classes)
        # Of two classes both say the same; of more, each is a trial of its own.
        return min(found) < SURE / max(len(classes) - 1, 1)

    def _known(self, logits: Floats | None) -> Floats:
        return self.logits() if logits is None else logits

    def logits(self) -> npt.NDArray[np.float32]:
        """Return the logits (N, C) of every row."""
        return self._answers(self._rows)

    def vectors(self) -> Floats:
        """Return the encoder's last vector of every row, float32 (N, D), see `cls_vectors`."""
        return vectors(self._model, self._rows)
