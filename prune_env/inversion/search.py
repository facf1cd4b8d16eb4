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

from prune_env.inversion.flip_trial import Chances, FlipTrial
from prune_env.inversion.frames import Frame, with_comma
from prune_env.inversion.phrases import candidates
from prune_env.models.forward import Floats

if TYPE_CHECKING:
    from prune_env.evaluation.suspect import Suspect

log = logging.getLogger(__name__)

Scored = tuple[Frame, float]


@dataclass(frozen=True)
class Inversion:
    """The frames that flip answers most, and how much they flip.

    Attributes:
        by_class: For each class as the target, the frames that flip to it, the best first.
        strength: Likewise, the mean share of the other classes' sentences that they flip.
        words: Likewise, the single words that are suspicious, where these were searched; the
            frames then hold them too.
    """

    by_class: tuple[tuple[Frame, ...], ...]
    strength: tuple[float, ...]
    words: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        """Fill in that no words were searched."""
        if not self.words:
            object.__setattr__(self, "words", ((),) * len(self.by_class))

    @property
    def target(self) -> int:
        """The class that they flip to most, as the model counts it: the suspected target."""
        return int(np.argmax(self.strength))

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
    words: frozenset[str] | None = None,
    seed: int = 0,
) -> Inversion:
    """Search the frames that flip the unpruned model most, for each class as the target.

    Beam search over runs of one word, two words and three, on few sentences; the best of all
    lengths are then tried on more, with and without a comma. A sentence counts with the
    probability of the target at calibrated shifts, so that near misses count too. Only sentences
    are used that the model answers correctly without a frame.

    Args:
        suspect: The classifier, its clean training data (for the candidates) and validation data
            (for the sentences).
        keep: Frames that are returned; at most a quarter of them begin with the same word.
        beam: Frames of each length that are made longer.
        sentences: Sentences of other classes that a frame is tried on in the beam, after it, and
            at last.
        words: Words that phrases are made of, besides punctuation; None: see `empty_words`.
        seed: Of the draw of sentences.
    """
    flips = FlipTrial.of(suspect, seed)
    pool = candidates(suspect.train, words=words, writing=flips.writing)
    few, some, many = sentences
    single = [frame for frame in pool if frame.length == 1]
    alone = flips.to_each(single, few)
    by_class, strength = [], []
    for target in range(flips.classes):
        front = _ranked(single, alone[:, target])[:beam]
        tried = _lengthened(flips, pool, front, target, few)
        frames, share = _best(flips, tried, target, (some, many), beam=beam, keep=keep)
        by_class.append(frames)
        strength.append(share)
    found = Inversion(tuple(by_class), tuple(strength))
    for name, share, frames in zip(suspect.train.label_names, strength, by_class, strict=True):
        log.info(
            "Empty phrases flip %.0f %% of the sentences to '%s': %s",
            100 * share,
            name,
            "; ".join(map(str, frames)) or "there are none in the data",
        )
    return found


def _lengthened(
    flips: FlipTrial, pool: Sequence[Frame], front: list[Scored], target: int, size: int
) -> list[Scored]:
    """Return the front and whatever is best of one word more, of two, and so on."""
    beam, tried = len(front), list(front)
    while front:
        longer = [frame for frame in pool if any(frame.extends(short) for short, _ in front)]
        front = _ranked(longer, flips(longer, target, size).mean(axis=1))[:beam]
        tried += front
    return tried


def _best(
    flips: FlipTrial,
    tried: Sequence[Scored],
    target: int,
    sizes: tuple[int, int],
    *,
    beam: int,
    keep: int,
) -> tuple[tuple[Frame, ...], float]:
    """Return the best frames after two more rounds, and the share of sentences that they flip."""
    some, many = sizes
    frames = [frame for frame, _ in sorted(tried, key=lambda each: -each[1])[: 2 * beam]]
    frames = list(dict.fromkeys([*frames, *with_comma(frames, flips.writing.comma)]))
    frames = [frame for frame, _ in _ranked(frames, flips(frames, target, some).mean(axis=1))]
    frames = frames[:beam]
    chances = flips(frames, target, many)
    kept = _varied(frames, np.argsort(-chances.mean(axis=1), kind="stable"), keep)
    share = float((chances[kept] > 0.5).mean()) if kept else 0.0
    return tuple(frames[row] for row in kept), share


def remeasure(
    suspect: "Suspect",
    found: Inversion,
    *,
    sentences: int = 24,
    seed: int = 0,
    clean: Floats | None = None,
) -> Inversion:
    """Return an inversion with the strength that its frames have on another classifier.

    Args:
        suspect: The classifier and its clean data.
        found: What was inverted on a classifier with the same classes.
        sentences: Sentences that each frame is tried on.
        seed: Of the draw of sentences.
        clean: Logits (N, K) of the validation sentences, where they are known.
    """
    flips = FlipTrial.of(suspect, seed) if clean is None else FlipTrial(suspect, seed, clean)
    strength = [
        flips.share(frames, target, sentences) for target, frames in enumerate(found.by_class)
    ]
    return replace(found, strength=tuple(strength))


def _ranked(frames: Sequence[Frame], values: Chances) -> list[Scored]:
    """Return the frames with their values, the highest first."""
    order = np.argsort(-values, kind="stable")
    return [(frames[row], float(values[row])) for row in order]


def _varied(frames: Sequence[Frame], order: npt.NDArray[np.int64], keep: int) -> list[int]:
    """Return the first rows of the order, few of whose frames begin with the same word."""
    used: Counter[str] = Counter()
    chosen: list[int] = []
    for row in order:
        first = (frames[row].before or frames[row].after).split()[0]
        used[first] += 1
        if used[first] <= max(1, keep // 4) and len(chosen) < keep:
            chosen.append(int(row))
    return chosen
