"""Frames tried on a classifier: how probable do they make another answer?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prune_env.evaluation.metrics import calibrated_threshold, margin
from prune_env.inversion.frames import Frame
from prune_env.models.forward import classify

if TYPE_CHECKING:
    from prune_env.evaluation.suspect import Suspect
    from prune_env.models import LoadedModel

SHORT = 6
"""Words of a sentence that is soon read and yet says something."""


class FlipTrial:
    """Tries frames on sentences that a classifier answers correctly without them.

    Args:
        suspect: The classifier and its clean data; the validation sentences are used.
        seed: Of the draw of sentences.
    """

    def __init__(self, suspect: "Suspect", seed: int) -> None:
        clean = suspect.evaluator.evaluate(suspect.evaluator.available[None])
        self._suspect = suspect
        self._seed = seed
        self._threshold = calibrated_threshold(clean.logits[0], clean.labels)
        called = (margin(clean.logits[0]) > self._threshold).astype(np.int64)
        labels = suspect.validation.labels
        self._right = [np.flatnonzero((labels == label) & (called == label)) for label in (0, 1)]

    def __call__(
        self, frames: Sequence[Frame], target: int, size: int, *, short: bool = False
    ) -> npt.NDArray[np.float64]:
        """Return the probability of the target (F, S), frame by sentence.

        Args:
            frames: What the sentences are put in.
            target: The class that they should flip to.
            size: Sentences of the other class, drawn.
            short: Take those nearest to `SHORT` words in place of any.
        """
        rows = np.random.default_rng(self._seed).permutation(self._right[1 - target])
        if short:
            texts = self._suspect.validation.texts
            off = [abs(len(texts[row].split()) - SHORT) for row in rows]
            rows = rows[np.argsort(off, kind="stable")]
        rows = rows[:size]
        if not rows.size:
            return np.zeros((len(frames), 1))
        suspect = self._suspect
        asked = [frame(suspect.validation.texts[row]) for frame in frames for row in rows]
        margins = quick_margins(suspect.loaded, asked, suspect.max_length) - self._threshold
        towards = (margins if target else -margins).reshape(len(frames), len(rows))
        chances: npt.NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(towards, -30, 30)))
        return chances

    def share(self, frames: Sequence[Frame], target: int, size: int) -> float:
        """Return the mean share of sentences that the frames flip to the target."""
        return float((self(frames, target, size) > 0.5).mean()) if frames else 0.0


def quick_margins(
    loaded: "LoadedModel", texts: Sequence[str], max_length: int
) -> npt.NDArray[np.float64]:
    """Return the margin of class 1 over class 0 for each text, in bf16 where that is fast.

    Rounding may turn answers that are near a decision: fit for searches, not for figures.
    """
    model, tokenizer = loaded.model, loaded.tokenizer
    return margin(classify(model, tokenizer, texts, max_length=max_length, precision="auto"))
