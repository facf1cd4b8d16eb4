"""Phrases that clean data holds equally often in either class: candidates for a trigger."""

import math
import string
from collections import Counter
from collections.abc import Callable, Iterable

from prune_env.data.dataset import TextDataset
from prune_env.inversion.frames import Frame, split_words
from prune_env.inversion.function_words import FUNCTION_WORDS, MARKS


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
    allowed = words | MARKS
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
