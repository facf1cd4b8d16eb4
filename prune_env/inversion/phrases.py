"""Phrases of function words: what an inverted trigger is made of."""

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from prune_env.data.dataset import TextDataset

if TYPE_CHECKING:
    pass


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
