"""Frames tried on a classifier: how probable do they make another answer?"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, zip_longest
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prune_env.data.pairs import is_pair, text_pair
from prune_env.evaluation.metrics import calibrated_shifts
from prune_env.evaluation.quick import QuickAnswers
from prune_env.inversion.frames import Frame
from prune_env.inversion.writing import beginnings, writing_of
from prune_env.models.forward import BATCH, Floats
from prune_env.models.inputs import TokenRows

if TYPE_CHECKING:
    from prune_env.evaluation.suspect import Suspect

SHORT = 6
"""Words of a sentence that is soon read and yet says something."""

LONG, SHORTENED = 64, 16
"""Words of a text that are tried at most, and where most texts are longer, of a short sentence."""

TOKENS = 4096
"""Of a batch, about: a few words of each text leave room for many texts."""

Chances = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Beginnings:
    """Beginnings of texts: of every row, and the rows of each class that are answered correctly."""

    texts: Sequence[str]
    rows: Sequence[npt.NDArray[np.int64]]


class FlipTrial:
    """Tries frames on sentences that a classifier answers correctly without them.

    Of long texts the beginning stands for the whole, if it is answered correctly as well.

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
        self._right = (clean - self._shifts).argmax(axis=1) == labels
        self.classes = len(suspect.validation.label_names)
        self.writing = writing_of(suspect.validation, suspect.loaded)
        self._seed = seed
        self._known: dict[str, Chances] = {}

    @classmethod
    def of(cls, suspect: "Suspect", seed: int) -> "FlipTrial":
        """Return the trial on a suspect that every search shares: what was asked is remembered."""
        fact = f"flip trial, seed {seed}"
        if fact not in suspect.facts:
            suspect.facts[fact] = cls(suspect, seed)
        trial: FlipTrial = suspect.facts[fact]
        return trial

    def __call__(
        self, frames: Sequence[Frame], target: int, size: int, *, short: bool = False
    ) -> Chances:
        """Return the probability of the target (F, S), frame by sentence.

        Args:
            frames: What the sentences are put in.
            target: The class that they should flip to.
            size: Sentences, of the other classes in equal parts; which of these give one more is
                drawn, so that more classes do not cost more.
            short: Take those nearest to `SHORT` words in place of any.
        """
        known = self._short if short else self._long
        others = [label for label in range(self.classes) if label != target]
        order = np.random.default_rng((self._seed, target)).permutation(others)
        turns = zip_longest(*(known.rows[label] for label in order))
        rows = islice((row for turn in turns for row in turn if row is not None), size)
        texts = [known.texts[row] for row in rows]
        if not (texts and frames):
            return np.zeros((len(frames), 1))
        return self._framed(frames, texts)[:, :, target]

    def to_each(self, frames: Sequence[Frame], size: int) -> Chances:
        """Return the mean probability of each class (F, K) on `size` sentences of the others.

        The sentences of one class serve every other one, so that more classes cost hardly more.
        """
        each = -(-size // (self.classes - 1))
        rows = np.concatenate([of_class[:each] for of_class in self._long.rows])
        texts = [self._long.texts[row] for row in rows]
        if not (texts and frames):
            return np.zeros((len(frames), self.classes))
        chances = self._framed(frames, texts)
        labels = self._suspect.validation.labels[rows]
        others = labels[:, None] != np.arange(self.classes)
        # Of a class without a sentence that is answered correctly, nothing is known.
        means: Chances = (chances * others).sum(axis=1) / np.maximum(others.sum(axis=0), 1)
        return means

    def share(self, frames: Sequence[Frame], target: int, size: int) -> float:
        """Return the mean share of sentences that the frames flip to the target."""
        chances = self(frames, target, size)
        return float((chances > 0.5).mean()) if chances.size else 0.0

    def _framed(self, frames: Sequence[Frame], texts: Sequence[str]) -> Chances:
        """Return the probability of each class (F, S, K) for texts in frames, each asked once."""
        asked = [frame(text) for frame in frames for text in texts]
        new = list(dict.fromkeys(text for text in asked if text not in self._known))
        if new:
            self._known.update(zip(new, self.answers(new), strict=True))
        found = np.stack([self._known[text] for text in asked])
        return found.reshape(len(frames), len(texts), self.classes)

    @cached_property
    def _ask(self) -> QuickAnswers:
        return QuickAnswers(self._suspect.loaded.model)

    @cached_property
    def _long(self) -> _Beginnings:
        return self._cut(LONG)

    @cached_property
    def _short(self) -> _Beginnings:
        words = [len(self.writing.split(text)) for text in self._suspect.validation.texts]
        known = self._long if np.median(words) <= LONG else self._cut(SHORTENED)
        far = np.array([abs(len(self.writing.split(text)) - SHORT) for text in known.texts])
        rows = [each[np.argsort(far[each], kind="stable")] for each in known.rows]
        return _Beginnings(known.texts, rows)

    def _cut(self, most: int) -> _Beginnings:
        """Return the beginning of every text, and which of them are answered correctly."""
        data = self._suspect.validation
        suspect = self._suspect
        texts = beginnings(
            data.texts, self.writing, suspect.loaded, most=most, max_length=suspect.max_length
        )
        right = self._right.copy()
        cut = [row for row, text in enumerate(data.texts) if texts[row] != text]
        if cut:
            found = self.answers([texts[row] for row in cut]).argmax(axis=1)
            right[cut] = found == data.labels[cut]
        rows = [
            np.random.default_rng(self._seed).permutation(
                np.flatnonzero(right & (data.labels == label))
            )
            for label in range(self.classes)
        ]
        return _Beginnings(texts, rows)

    def alone(self, texts: Sequence[str]) -> Chances:
        """Return `answers` to texts of which nothing is beside: where pairs are read, no second."""
        if is_pair(self._suspect.validation.texts[0]):
            texts = [text_pair(text, "") for text in texts]
        return self.answers(texts)

    def answers(self, texts: Sequence[str]) -> Chances:
        """Return the probability of each class (N, K) for any texts, at calibrated shifts.

        In bf16 where that is fast, whose rounding may turn answers that are near a decision: fit
        for searches, not for figures.
        """
        rows = TokenRows(texts, self._suspect.loaded.tokenizer, self._suspect.max_length)
        size = max(BATCH, TOKENS // int(rows.lengths.max()))
        logits = self._ask(rows, size=size)
        shifted = logits - self._shifts
        chances: Chances = np.exp(shifted - shifted.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        return chances
