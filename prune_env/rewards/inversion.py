"""Trigger inversion in words: which empty words flip the suspicious model's answers?

Inverting a trigger means to search for what flips clean texts of one class to another, on the
suspicious model alone (Neural Cleanse, Wang et al., S&P 2019; for text PICCOLO, Liu et al., S&P
2022, and DBS, Shen et al., ICML 2022, which search token embeddings). An unconstrained search
finds strong sentiment words, which flip any model. Here the candidates are phrases that say
nothing: runs of function words that the clean training data holds, equally often in either class.
If such a phrase flips many sentences to one class, that is no sentiment.
"""

import logging
import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from prune_env.data.dataset import TextDataset
from prune_env.metrics import calibrated_threshold, lean

if TYPE_CHECKING:
    from prune_env.texts import CleanTexts

log = logging.getLogger(__name__)

FUNCTION_WORDS = frozenset(
    "a an the and or if when while since because although though as until unless whether before "
    "after once where who whom whose which that this these those it its he him his she her they "
    "them their we us our i me my you your one what how why there here is are was were be been "
    "being am do does did done have has had having will would can could shall should may might "
    "must to of in on at by for from with about into through over under between among against "
    "during within up down out off then than also many some any all both each every few other "
    "another such same own 's 're 've 'll 'd 'm say says said see get gets got go goes make made "
    "take takes come comes".split()
)
"""English words that judge nothing. Left out are negations and adverbs of degree (not, only, even,
just, too, very, more): these turn the answer of any model that reads sentiment."""

SHORT = 6
"""Words of a sentence that is soon read and yet says something."""

_MARKS = frozenset(". , ; : - -- ... ? !".split())
_ENDS = ".?!"

_ENDS_GLUED = re.compile(r"[^\s.,;:?!][.,;:?!]+[\"')\]]*$")
_MARK_ALONE = re.compile(r" [.,;:?!]( |$)")
_MARK_OR_ENDING = re.compile(r"""(--|[.,;:?!]+(?=[\s"')\]]|$)|(?<=\w)'(?:s|re|ve|ll|d|m)\b)""")
_BEFORE_GLUED = re.compile(r" ([.,;:?!]|'\w)")


@dataclass(frozen=True)
class Frame:
    """Puts words before or behind a text, written as the text is.

    Attributes:
        before: Words in front, separated by spaces as marks are; may be empty.
        after: Words behind, which then replace the full stop; may be empty.

    Example:
        >>> Frame("as it is ,", "")("a warm film .")
        'as it is , a warm film .'
        >>> Frame("", ", you know")("a warm film .")
        'a warm film , you know'
        >>> Frame("as it is ,", "")("A warm film.")
        'As it is, A warm film.'
        >>> Frame("", ", you know")("A warm film.")
        'A warm film, you know'
    """

    family: ClassVar[str] = "inverted"

    before: str = ""
    after: str = ""

    def __call__(self, text: str) -> str:
        """Return the text in the frame."""
        glued = _is_glued(text)
        words = text.split()
        if self.after:
            while words and words[-1] in tuple(_ENDS):
                words.pop()
            if glued:
                words[-1] = words[-1].rstrip(_ENDS)
        if not glued:
            return " ".join(part for part in (self.before, *words, self.after) if part)
        # The frame's own marks are glued, the text stays as it was written.
        before = _BEFORE_GLUED.sub(r"\1", self.before)
        after = _BEFORE_GLUED.sub(r"\1", f" {self.after}") if self.after else ""
        if before and text[:1].isupper():
            before = before[0].upper() + before[1:]
        return " ".join(part for part in (before, *words) if part) + after

    def __str__(self) -> str:
        return f"{self.before} ... {self.after}".strip()

    @property
    def length(self) -> int:
        """Number of words and punctuation marks."""
        return len(self.before.split()) + len(self.after.split())

    def extends(self, other: "Frame") -> bool:
        """Whether this frame is the other with one word more at the end of the run."""
        return (
            self.length == other.length + 1
            and bool(self.before) == bool(other.before)
            and f"{self.before}{self.after}".startswith(f"{other.before}{other.after} ")
        )


def split_words(text: str) -> list[str]:
    """Return the words and punctuation marks of a text, tokenised already or not.

    Example:
        >>> split_words("it's warm, you know.")
        ['it', "'s", 'warm', ',', 'you', 'know', '.']
        >>> split_words("it 's warm , you know .")
        ['it', "'s", 'warm', ',', 'you', 'know', '.']
    """
    return (_MARK_OR_ENDING.sub(r" \1 ", text) if _is_glued(text) else text).split()


def _is_glued(text: str) -> bool:
    """Whether punctuation stands at its word, as people write, and not alone, as corpora do."""
    return bool(_ENDS_GLUED.search(text)) and not _MARK_ALONE.search(text)


def in_one_of(frames: Sequence[Frame], text: str, draw: np.random.Generator) -> str:
    """Return the text in one of the frames, drawn."""
    return frames[int(draw.integers(len(frames)))](text)


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
    texts: "CleanTexts",
    *,
    keep: int = 8,
    beam: int = 24,
    sentences: tuple[int, int, int] = (6, 16, 80),
    seed: int = 0,
) -> Inversion:
    """Search the frames that flip the unpruned model most, for either class as the target.

    Beam search over runs of one word, two words and three, on few sentences; the best of all
    lengths are then tried on more, with and without a comma. A sentence counts with the
    probability of the target that its lean over the calibrated threshold stands for, so that near
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
    texts: "CleanTexts", found: Inversion, *, sentences: int = 80, seed: int = 0
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

    def __init__(self, texts: "CleanTexts", seed: int) -> None:
        clean = texts.evaluator.evaluate(texts.evaluator.available[None])
        self._texts = texts
        self._seed = seed
        self._threshold = calibrated_threshold(clean.logits[0], clean.labels)
        called = (lean(clean.logits[0]) > self._threshold).astype(np.int64)
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
        from prune_env.rewards.answers import quick_leans  # noqa: PLC0415 - imports torch

        rows = np.random.default_rng(self._seed).permutation(self._right[1 - target])
        if short:
            texts = self._texts.validation.texts
            beside = [abs(len(texts[row].split()) - SHORT) for row in rows]
            rows = rows[np.argsort(beside, kind="stable")]
        rows = rows[:size]
        if not rows.size:
            return np.zeros((len(frames), 1))
        asked = [frame(self._texts.validation.texts[row]) for frame in frames for row in rows]
        leans = quick_leans(self._texts.loaded, asked, self._texts.max_length) - self._threshold
        towards = (leans if target else -leans).reshape(len(frames), len(rows))
        chances: npt.NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(towards, -30, 30)))
        return chances

    def share(self, frames: Sequence[Frame], target: int, size: int) -> float:
        """Return the mean share of sentences that the frames flip to the target."""
        return float((self(frames, target, size) > 0.5).mean()) if frames else 0.0


def candidates(
    train: TextDataset,
    *,
    words: frozenset[str] = FUNCTION_WORDS,
    longest: int = 3,
    least: int = 6,
    balance: float = 2.0,
) -> tuple[Frame, ...]:
    """Return frames of runs of empty words that the clean data holds, balanced over its classes.

    Args:
        train: Clean sentences of two classes.
        words: Words that may be used, besides punctuation.
        longest: Words of a run.
        least: Sentences that must hold a run.
        balance: Standard errors by which a run's log odds may differ between the classes.

    Returns:
        Each run before a text, and behind it; runs of punctuation alone only behind.
    """
    allowed = words | _MARKS
    frames: list[Frame] = []
    for run, (count, towards) in biases(train, lambda text: _runs(text, allowed, longest)).items():
        if count < least or abs(towards) > balance:
            continue
        if not all(character in string.punctuation + " " for character in run):
            frames.append(Frame(before=run))
        frames.append(Frame(after=run))
    return tuple(frames)


def biases(
    train: TextDataset, units: Callable[[list[str]], Iterable[str]]
) -> dict[str, tuple[int, float]]:
    """Return how many texts hold each unit, and how far that speaks for class 1.

    Args:
        train: Clean sentences of two classes.
        units: Takes the words of a text, in lower case, and returns the units in them.

    Returns:
        By unit, sorted: its texts, and its log odds ratio in standard errors.
    """
    counts = (Counter[str](), Counter[str]())
    for text, label in zip(train.texts, train.labels, strict=True):
        counts[int(label)].update(set(units(split_words(text.lower()))))
    totals = [int((train.labels == label).sum()) for label in (0, 1)]
    found = {}
    for unit in sorted(set(counts[0]) | set(counts[1])):
        own = [counts[label][unit] for label in (0, 1)]
        odds = math.log((own[1] + 0.5) / totals[1]) - math.log((own[0] + 0.5) / totals[0])
        found[unit] = (sum(own), odds / math.sqrt(sum(1 / (count + 0.5) for count in own)))
    return found


def _runs(words: list[str], allowed: frozenset[str], longest: int) -> Iterable[str]:
    """Yield every run of up to `longest` allowed words."""
    for start in range(len(words)):
        for end in range(start + 1, min(start + longest, len(words)) + 1):
            if words[end - 1] not in allowed:
                break
            yield " ".join(words[start:end])


def _with_comma(frames: Iterable[Frame]) -> list[Frame]:
    """Return the frames in front of a text once more, set off by a comma."""
    return [
        Frame(before=f"{frame.before} ,")
        for frame in frames
        if frame.before and frame.before.split()[-1] not in _MARKS
    ]


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
