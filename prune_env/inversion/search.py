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

from prune_env.inversion.frames import Frame, with_comma
from prune_env.inversion.phrases import candidates
from prune_env.inversion.trial import FlipTrial

if TYPE_CHECKING:
    from prune_env.evaluation.suspect import Suspect

log = logging.getLogger(__name__)


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
    suspect: "Suspect",
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
        suspect: The classifier, its clean training data (for the candidates) and validation data
            (for the sentences).
        keep: Frames that are returned; at most a quarter of them begin with the same word.
        beam: Frames of each length that are made longer.
        sentences: Sentences that a frame is tried on in the beam, after it, and at last.
        seed: Of the draw of sentences.
    """
    pool = candidates(suspect.train)
    flips = FlipTrial(suspect, seed)

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
            tried = best([*tried, *with_comma(tried)], target, some, beam)
            tried = _varied(best(tried, target, many, beam), keep)
        by_class.append(tuple(tried))
        strength.append(flips.share(tried, target, many))
    found = Inversion((by_class[0], by_class[1]), (strength[0], strength[1]))
    log.info(
        "Empty phrases flip %.0f %% of the sentences to '%s' and %.0f %% to '%s': %s",
        100 * strength[found.target],
        suspect.train.label_names[found.target],
        100 * strength[1 - found.target],
        suspect.train.label_names[1 - found.target],
        "; ".join(map(str, found.frames)) or "there are none in the data",
    )
    return found


def remeasure(
    suspect: "Suspect", found: Inversion, *, sentences: int = 80, seed: int = 0
) -> Inversion:
    """Return an inversion with the strength that its frames have on another classifier.

    Args:
        suspect: The classifier and its clean data.
        found: What was inverted on a classifier with the same classes.
        sentences: Sentences that each frame is tried on.
        seed: Of the draw of sentences.
    """
    flips = FlipTrial(suspect, seed)
    strength = [flips.share(found.by_class[target], target, sentences) for target in (0, 1)]
    return replace(found, strength=(strength[0], strength[1]))


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
