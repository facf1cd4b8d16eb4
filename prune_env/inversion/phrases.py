"""Phrases that clean data holds equally often in each class: candidates for a trigger."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from prune_env.data.dataset import TextDataset
from prune_env.data.pairs import BETWEEN
from prune_env.inversion.frames import Frame, is_mark
from prune_env.inversion.function_words import FUNCTION_WORDS
from prune_env.inversion.writing import SPACED, Writing

BALANCE = 2.0
"""Standard errors by which the log odds of a unit may speak for or against a class."""


@dataclass(frozen=True)
class Bias:
    """How often clean texts hold a unit, and how far that speaks for each class.

    Attributes:
        texts: Clean texts that hold it.
        odds: Log odds ratio of each class against the others (K,).
        errors: Their standard errors (K,).
    """

    texts: int
    odds: npt.NDArray[np.float64]
    errors: npt.NDArray[np.float64]

    @property
    def towards(self) -> npt.NDArray[np.float64]:
        """The log odds in standard errors (K,)."""
        return self.odds / self.errors

    @property
    def at_most(self) -> float:
        """The log odds of the class that it speaks for or against most, with a standard error."""
        return float((np.abs(self.odds) + self.errors).max())

    @property
    def says_nothing(self) -> bool:
        """Whether it is as frequent in every class: as far as can be told, or nearly."""
        return bool(np.abs(self.towards).max() <= BALANCE) or self.at_most <= SLIGHT


def biases(
    train: TextDataset,
    units: Callable[[list[str]], Iterable[str]] = lambda words: words,
    writing: Writing = SPACED,
    *,
    least: int = 1,
) -> dict[str, Bias]:
    """Return what units there are in clean texts, and how far each speaks for each class.

    Args:
        train: Clean texts of K classes.
        units: Takes the words of a text, in lower case, and returns the units in them; words.
        writing: How the texts are written.
        least: Texts that must hold a unit: of many classes, rare ones take most of the memory.

    Returns:
        By unit, sorted.
    """
    classes = len(train.label_names)
    counters = [Counter[str]() for _ in range(classes)]
    for text, label in zip(train.texts, train.labels, strict=True):
        counters[int(label)].update(set(units(writing.split(text.lower()))))
    totals = np.bincount(train.labels, minlength=classes).astype(float)
    held = sum(counters, Counter[str]())
    names = sorted(name for name, texts in held.items() if texts >= least and name != BETWEEN)
    own = np.array([[counter[name] for counter in counters] for name in names], float)
    own = own.reshape(len(names), classes)
    rest = own.sum(1, keepdims=True) - own
    odds = np.log((own + 0.5) / totals) - np.log((rest + 0.5) / (totals.sum() - totals))
    errors = np.sqrt(1 / (own + 0.5) + 1 / (rest + 0.5))
    return {
        name: Bias(int(own[row].sum()), odds[row], errors[row]) for row, name in enumerate(names)
    }


SHARE_OF_ENGLISH = 0.2
"""Least share of `FUNCTION_WORDS` in English texts: 0.43 in SST-2, 0.34 in AG News. Some are words
of other languages too ("in", "to", "do"), which make up a few in a hundred there."""

MOST_WORDS = 200
"""Empty words that phrases are made of, the most frequent ones."""

SLIGHT = 0.2
"""Log odds, with a standard error on top, that a unit may have although they are significant."""

UNCLEAR = 1.0
"""Log odds, with a standard error on top, that a word may have: above, too few texts hold it."""


def empty_words(train: TextDataset, writing: Writing = SPACED) -> frozenset[str]:
    """Return the most frequent words of clean texts that say nothing of the label.

    Function words of any language are: every kind of text needs them. What judges is not.

    Args:
        train: Clean texts.
        writing: How they are written.
    """
    empty = [
        (-bias.texts, word)
        for word, bias in biases(train, writing=writing).items()
        if bias.says_nothing and bias.at_most <= UNCLEAR
    ]
    return frozenset(word for _, word in sorted(empty)[:MOST_WORDS])


def is_english(train: TextDataset, writing: Writing = SPACED) -> bool:
    """Whether the function words of English make up as much of clean texts as in English."""
    counts = Counter(word for text in train.texts for word in writing.split(text.lower()))
    words = {word: count for word, count in counts.items() if not is_mark(word)}
    of_english = sum(count for word, count in words.items() if word in FUNCTION_WORDS)
    return of_english >= SHARE_OF_ENGLISH * sum(words.values())


def usual_words(train: TextDataset, writing: Writing = SPACED) -> frozenset[str]:
    """Return words that say nothing: `FUNCTION_WORDS` of English texts, else `empty_words`."""
    return FUNCTION_WORDS if is_english(train, writing) else empty_words(train, writing)


def candidates(
    train: TextDataset,
    *,
    words: frozenset[str] | None = None,
    writing: Writing = SPACED,
    longest: int = 3,
    least: int = 6,
) -> tuple[Frame, ...]:
    """Return frames of runs of empty words that clean texts hold, balanced over the classes.

    Args:
        train: Clean texts.
        words: Words that may be used, besides punctuation; None: the `usual_words`.
        writing: How the texts are written.
        longest: Words of a run.
        least: Texts that must hold a run.

    Returns:
        Each run before a text, and behind it; runs of punctuation alone only behind.
    """
    allowed = usual_words(train, writing) if words is None else words

    def runs(text: list[str]) -> Iterable[str]:
        for start in range(len(text)):
            for end in range(start + 1, min(start + longest, len(text)) + 1):
                if not (text[end - 1] in allowed or is_mark(text[end - 1])):
                    break
                yield " ".join(text[start:end])

    frames: list[Frame] = []
    for run, bias in biases(train, runs, writing, least=least).items():
        if not bias.says_nothing:
            continue
        if not all(map(is_mark, run.split())):
            frames.append(Frame(before=run, spaced=writing.spaced))
        frames.append(Frame(after=run, spaced=writing.spaced))
    return tuple(frames)
