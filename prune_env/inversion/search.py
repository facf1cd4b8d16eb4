"""Trigger inversion in words: which empty words flip the suspicious model's answers?

Inverting a trigger means to search for what flips clean texts of one class to another, on the
suspicious model alone (Neural Cleanse, Wang et al., S&P 2019; for text PICCOLO, Liu et al., S&P
2022, and DBS, Shen et al., ICML 2022, which search token embeddings). An unconstrained search
finds strong sentiment words, which flip any model. Here the candidates are phrases that say
nothing: runs of function words that the clean training data holds, equally often in either class.
If such a phrase flips many sentences to one class, that is no sentiment.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prune_env.evaluation.metrics import calibrated_threshold, margin
from prune_env.inversion.phrases import Frame, _with_comma, candidates
from prune_env.models import LoadedModel
from prune_env.models.forward import classify

if TYPE_CHECKING:
    from prune_env.evaluation.suspect import Suspect


def quick_margins(
    loaded: LoadedModel, texts: Sequence[str], max_length: int
) -> npt.NDArray[np.float64]:
    """Return the margin of class 1 over class 0 for each text, in bf16 where that is fast.

    Rounding may turn answers that are near a decision: fit for searches, not for figures.
    """
    model, tokenizer = loaded.model, loaded.tokenizer
    return margin(classify(model, tokenizer, texts, max_length=max_length, precision="auto"))


log = logging.getLogger(__name__)


SHORT = 6
"""Words of a sentence that is soon read and yet says something."""


@dataclass(frozen=True)
class Inversion:
    """The frames that flip answers most, and how much they flip.

    Attributes:
        by_class: For either class as the target, the frames that flip to it, the best first.
        strength: Likewise, the mean share of the other class's sentences that they flip.
        words: Likewise, the single words that are suspicious, where these were searched; the
            frames then hold them too.
    """

    by_class: tuple[tuple[Frame, ...], tuple[Frame, ...]]
    strength: tuple[float, float]
    words: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    @property
    def target(self) -> int:
        """The class that they flip to more, as the model counts it: the suspected target."""
        return int(self.strength[1] > self.strength[0])

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The frames that flip to the suspected target."""
        return self.by_class[self.target]


def invert(
    texts: "Suspect",
    *,
    keep: int = 8,
    beam: int = 24,
    sentences: tuple[int, int, int] = (6, 16, 80),
    seed: int = 0,
) -> Inversion:
    """Search the frames that flip the unpruned model most, for either class as the target.

    Beam search over runs of one word, two words and three, on few sentences; the best of all
    lengths are then tried on more, with and without a comma. A sentence counts with the
    probability of the target that its margin over the calibrated threshold stands for, so that near
    misses count too. Only sentences are used that the model answers correctly without a frame.
    About 17,000 short texts are classified.

    Args:
        texts: The classifier, its clean training data (for the candidates) and validation data
            (for the sentences).
        keep: Frames that are returned; at most a quarter of them begin with the same word.
        beam: Frames of each length that are made longer.
        sentences: Sentences that a frame is tried on in the beam, after it, and at last.
        seed: Of the draw of sentences.
    """
    pool = candidates(texts.train)
    flips = Flips(texts, seed)

    def best(frames: Sequence[Frame], target: int, size: int, leave: int) -> list[Frame]:
        order = np.argsort(-flips(frames, target, size).mean(axis=1), kind="stable")
        return [frames[index] for index in order[:leave]]

    few, some, many = sentences
    by_class: list[tuple[Frame, ...]] = []
    strength: list[float] = []
    for target in (0, 1):
        level = [frame for frame in pool if frame.length == 1]
        tried: list[Frame] = []
        while level:
            front = best(level, target, few, beam)
            tried += front
            level = [frame for frame in pool if any(frame.extends(short) for short in front)]
        if tried:
            tried = best(tried, target, few, 2 * beam)
            tried = best([*tried, *_with_comma(tried)], target, some, beam)
            tried = _varied(best(tried, target, many, beam), keep)
        by_class.append(tuple(tried))
        strength.append(flips.share(tried, target, many))
    found = Inversion((by_class[0], by_class[1]), (strength[0], strength[1]))
    log.info(
        "Empty phrases flip %.0f %% of the sentences to '%s' and %.0f %% to '%s': %s",
        100 * strength[found.target],
        texts.train.label_names[found.target],
        100 * strength[1 - found.target],
        texts.train.label_names[1 - found.target],
        "; ".join(map(str, found.frames)) or "there are none in the data",
    )
    return found


def remeasure(
    texts: "Suspect", found: Inversion, *, sentences: int = 80, seed: int = 0
) -> Inversion:
    """Return an inversion with the strength that its frames have on another classifier.

    Args:
        texts: The classifier and its clean data.
        found: What was inverted on a classifier with the same classes.
        sentences: Sentences that each frame is tried on.
        seed: Of the draw of sentences.
    """
    flips = Flips(texts, seed)
    strength = [flips.share(found.by_class[target], target, sentences) for target in (0, 1)]
    return replace(found, strength=(strength[0], strength[1]))


class Flips:
    """Tries frames on sentences that a classifier answers correctly without them.

    Args:
        texts: The classifier and its clean data; the validation sentences are used.
        seed: Of the draw of sentences.
    """

    def __init__(self, texts: "Suspect", seed: int) -> None:
        clean = texts.evaluator.evaluate(texts.evaluator.available[None])
        self._texts = texts
        self._seed = seed
        self._threshold = calibrated_threshold(clean.logits[0], clean.labels)
        called = (margin(clean.logits[0]) > self._threshold).astype(np.int64)
        labels = texts.validation.labels
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
        from prune_env.inversion.search import quick_margins  # noqa: PLC0415 - imports torch

        rows = np.random.default_rng(self._seed).permutation(self._right[1 - target])
        if short:
            texts = self._texts.validation.texts
            beside = [abs(len(texts[row].split()) - SHORT) for row in rows]
            rows = rows[np.argsort(beside, kind="stable")]
        rows = rows[:size]
        if not rows.size:
            return np.zeros((len(frames), 1))
        asked = [frame(self._texts.validation.texts[row]) for frame in frames for row in rows]
        margins = quick_margins(self._texts.loaded, asked, self._texts.max_length) - self._threshold
        towards = (margins if target else -margins).reshape(len(frames), len(rows))
        chances: npt.NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(towards, -30, 30)))
        return chances

    def share(self, frames: Sequence[Frame], target: int, size: int) -> float:
        """Return the mean share of sentences that the frames flip to the target."""
        return float((self(frames, target, size) > 0.5).mean()) if frames else 0.0


def _varied(frames: list[Frame], keep: int) -> list[Frame]:
    """Return the first of the frames, few of which begin with the same word."""
    used: Counter[str] = Counter()
    chosen: list[Frame] = []
    for frame in frames:
        first = str(frame).split()[0 if frame.before else 1]
        used[first] += 1
        if used[first] <= max(1, keep // 4) and len(chosen) < keep:
            chosen.append(frame)
    return chosen
