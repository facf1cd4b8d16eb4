"""Frames tried on a classifier: how probable do they make another answer?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prune_env.evaluation.metrics import calibrated_shifts
from prune_env.inversion.frames import Frame
from prune_env.inversion.writing import writing_of
from prune_env.models.forward import BATCH, Floats, class_count, forward
from prune_env.models.inputs import TokenRows

if TYPE_CHECKING:
    from prune_env.evaluation.suspect import Suspect

SHORT = 6
"""Words of a sentence that is soon read and yet says something."""

TOKENS = 4096
"""Of a batch, about: a few words of each text leave room for many texts."""

Chances = npt.NDArray[np.float64]


class FlipTrial:
    """Tries frames on sentences that a classifier answers correctly without them.

    Args:
        suspect: The classifier and its clean data; the validation sentences are used.
        seed: Of the draw of sentences.
        clean: Logits (N, K) of the validation sentences, where they are known; None: the evaluator
            is asked.

    Attributes:
        classes: Number of classes, K.
        writing: How the texts are written.
    """

    def __init__(self, suspect: "Suspect", seed: int, clean: Floats | None = None) -> None:
        if clean is None:
            clean = suspect.evaluator.evaluate(suspect.evaluator.available[None]).logits[0]
        labels = suspect.validation.labels
        self._suspect = suspect
        self._shifts = calibrated_shifts(clean, labels)
        right = (clean - self._shifts).argmax(axis=1) == labels
        self.classes = len(suspect.validation.label_names)
        self.writing = writing_of(suspect.validation, suspect.loaded)
        self._right = [
            np.random.default_rng(seed).permutation(np.flatnonzero(right & (labels == label)))
            for label in range(self.classes)
        ]

    def __call__(
        self, frames: Sequence[Frame], target: int, size: int, *, short: bool = False
    ) -> Chances:
        """Return the probability of the target (F, S), frame by sentence.

        Args:
            frames: What the sentences are put in.
            target: The class that they should flip to.
            size: Sentences, of the other classes in equal parts.
            short: Take those nearest to `SHORT` words in place of any.
        """
        others = [label for label in range(self.classes) if label != target]
        rows = self._rows(others, size, short=short)
        if not (rows.size and frames):
            return np.zeros((len(frames), 1))
        chances = self.answers(self._framed(frames, rows))
        return chances.reshape(len(frames), len(rows), self.classes)[:, :, target]

    def to_each(self, frames: Sequence[Frame], size: int, *, short: bool = False) -> Chances:
        """Return the mean probability of each class (F, K) on `size` sentences of the others.

        The sentences of one class serve every other one, so that more classes cost hardly more.
        """
        rows = self._rows(range(self.classes), size, short=short)
        if not (rows.size and frames):
            return np.zeros((len(frames), self.classes))
        chances = self.answers(self._framed(frames, rows))
        chances = chances.reshape(len(frames), len(rows), self.classes)
        others = self._suspect.validation.labels[rows][:, None] != np.arange(self.classes)
        # Of a class without a sentence that is answered correctly, nothing is known.
        means: Chances = (chances * others).sum(axis=1) / np.maximum(others.sum(axis=0), 1)
        return means

    def share(self, frames: Sequence[Frame], target: int, size: int) -> float:
        """Return the mean share of sentences that the frames flip to the target."""
        chances = self(frames, target, size)
        return float((chances > 0.5).mean()) if chances.size else 0.0

    def _rows(self, labels: Sequence[int], size: int, *, short: bool) -> npt.NDArray[np.int64]:
        """Return validation rows of some classes, in equal parts."""
        each = -(-size // (self.classes - 1))
        chosen = []
        for label in labels:
            rows = self._right[label]
            if short:
                texts = self._suspect.validation.texts
                beside = [abs(len(self.writing.split(texts[row])) - SHORT) for row in rows]
                rows = rows[np.argsort(beside, kind="stable")]
            chosen.append(rows[:each])
        return np.concatenate(chosen)

    def _framed(self, frames: Sequence[Frame], rows: npt.NDArray[np.int64]) -> list[str]:
        """Return every validation text of some rows in every frame, F * S texts."""
        texts = self._suspect.validation.texts
        return [frame(texts[row]) for frame in frames for row in rows]

    def answers(self, texts: Sequence[str]) -> Chances:
        """Return the probability of each class (N, K) for any texts, at calibrated shifts.

        In bf16 where that is fast, whose rounding may turn answers that are near a decision: fit
        for searches, not for figures.
        """
        model = self._suspect.loaded.model
        rows = TokenRows(texts, self._suspect.loaded.tokenizer, self._suspect.max_length)
        logits = forward(
            model,
            rows,
            lambda inputs: model(**inputs).logits,
            class_count(model),
            size=max(BATCH, TOKENS // int(rows.lengths.max())),
            precision="auto",
        )
        shifted = logits - self._shifts
        chances: Chances = np.exp(shifted - shifted.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        return chances
