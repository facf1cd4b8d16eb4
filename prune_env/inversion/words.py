"""Which single words flip the suspicious model's answers, where words like them do not?

The words of the tokenizer are all tried, so this inverts any trigger that hangs on one word: a rare
one, or the odd one of a sentence. Most words that flip an answer judge, and so do the words next to
them in the embedding ("boring" beside "dull"); a trigger stands alone. So a word counts by what it
flips beyond what its neighbours flip, unless clean data itself says that it speaks for that class.

Source: PICCOLO (Liu et al., S&P 2022) tells trigger words from words of the task by a linear model
of its encodings; T-Miner (Azizi et al., USENIX Security 2021) looks for outliers among perturbing
words. Here the neighbours say what is ordinary.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from prune_env.data.dataset import TextDataset
from prune_env.data.pairs import BETWEEN
from prune_env.inversion.flip_trial import FlipTrial
from prune_env.inversion.frames import Frame
from prune_env.inversion.phrases import BALANCE, biases
from prune_env.inversion.vocabulary import Place, directions, vocabulary
from prune_env.inversion.writing import SPACED, Writing
from prune_env.utils.progress import progress

if TYPE_CHECKING:
    from prune_env.evaluation.suspect import Suspect

log = logging.getLogger(__name__)

LEAST = 0.7
"""Share of the sentences that a suspicious word flips beyond its neighbours. On SST-2 the word of
a rare-word backdoor and that of an inserted sentence had 0.79; the worst of a benign model 0.63."""

SLACK = 0.4
"""So far below, by the mean probability on few sentences, a word may stay before it is tried on
more, and half as far below on those before it is tried on many."""

NEIGHBOURS = 8

HELD, ENOUGH = 2, 2000
"""Neighbours are words that so many clean texts hold, where there are enough such words: what is
planted in several rare words flips their look-alikes too, which clean data does not hold."""

BLOCK = 1024
"""Words tried between two looks at the progress bar."""

SHOWN = 5
"""Suspicious words that a warning of its own tells of."""

CONTEXT = 6
"""Clean words round a suspicious one, at most."""


@dataclass(frozen=True)
class SuspiciousWord:
    """A word that flips answers on its own.

    Attributes:
        word: The word.
        flipped: Share of the other classes' sentences that it flips in front of them, 0 to 1.
        neighbours: Likewise, the mean over the words next to it in the embedding.
    """

    word: str
    flipped: float
    neighbours: float


Index = npt.NDArray[np.int64]
Chances = npt.NDArray[np.float64]
Words = tuple[tuple[SuspiciousWord, ...], ...]

LEFT = (2048, 512, 32)
"""Words that are left after each of the first rounds."""
SENTENCES = (1, 6, 24, 64)
"""Sentences that a word is tried on in each round after the first."""


def suspicious_words(
    suspect: "Suspect",
    *,
    least: float = LEAST,
    seed: int = 0,
) -> Words:
    """Search the words that flip the unpruned model as no word like them does.

    Every word of the tokenizer is tried by itself, for all classes at once; the best before one
    short sentence of each class, and the best of those before some; of what is left, each beside
    its neighbours, what still stands alone before more sentences. (By itself, the word of a planted
    backdoor came 645th of 30,000, and the odd one of a planted sentence 618th; by the gradient at
    the embedding 103rd and 21,969th.)

    Args:
        suspect: The classifier and its clean data.
        least: Share of the sentences that a word must flip beyond its neighbours.
        seed: Of the draw of sentences.

    Returns:
        For each class as the target, the suspicious words, the worst first; often none.
    """
    one, few, some, many = SENTENCES
    flips = FlipTrial.of(suspect, seed)
    words = vocabulary(suspect.loaded, spaced=flips.writing.spaced)
    embedded = directions(suspect.loaded, words)
    telling, among = _read_clean(suspect.train, flips.writing, words)
    place = Place.of(suspect.loaded, suspect.train.texts, flips.writing)
    frames = [place.frame(word) for word in words]
    alone = _by_themselves(flips, [place.alone(word) for word in words])
    by_class: list[tuple[SuspiciousWord, ...]] = []
    for target in range(flips.classes):
        silent = [row for row, word in enumerate(words) if _key(word) not in telling[target]]
        if len(silent) <= NEIGHBOURS:
            by_class.append(())
            continue
        index: Index = np.array(silent)
        index = index[np.argsort(-alone[index, target], kind="stable")[: LEFT[0]]]
        trial = _Trial(flips, frames, target)
        for leave, size in zip(LEFT[1:], (one, few), strict=True):
            index = _best(trial, index, size, leave=leave)
        nearest = _nearest(embedded, words, index, among)
        found = _standing_out(trial, index, nearest, (few, some, many), least)
        worst: dict[str, SuspiciousWord] = {}
        for row, own, beside in found:
            word = words[row].strip()
            worst.setdefault(word, SuspiciousWord(word, own, beside))
        by_class.append(tuple(worst.values()))
    _warn(suspect.train.label_names, by_class)
    return tuple(by_class)


class _Trial:
    """Puts words before sentences to flip them to a target.

    Args:
        flips: Tries frames.
        frames: Every word.
        target: Of the flips.
    """

    def __init__(self, flips: FlipTrial, frames: Sequence[Frame], target: int) -> None:
        self._flips, self._frames, self._target = flips, frames, target

    def __call__(self, rows: Index, size: int, *, short: bool = False) -> Chances:
        """Return the probability of the target (..., S) for words of any shape (...)."""
        asked, where = np.unique(rows, return_inverse=True)  # neighbours are often shared
        frames = [self._frames[row] for row in asked]
        found: Chances = self._flips(frames, self._target, size, short=short)
        return found[where.reshape(rows.shape)]


def _best(trial: _Trial, index: Index, size: int, *, leave: int) -> Index:
    """Return those of the words (N,) that flip most."""
    order = np.argsort(-trial(index, size, short=True).mean(axis=-1), kind="stable")
    return index[order[:leave]]


def _standing_out(
    trial: _Trial, index: Index, nearest: Index, sizes: tuple[int, int, int], least: float
) -> list[tuple[int, float, float]]:
    """Return which of the words (N,) flip more than their neighbours (N, K), the worst first.

    Returns:
        Of each, its row, and the share of sentences that it flips and that its neighbours do.
    """
    few, some, many = sizes
    # Few stand alone even on these, and only they are worth more sentences.
    for size, slack in ((few, SLACK), (some, SLACK / 2)):
        index, nearest = _might(trial, index, nearest, size, bar=least - slack)
    own = (trial(index, many) > 0.5).mean(axis=-1)
    flipping = own >= least  # whatever their neighbours do, so that these need not be asked
    index, nearest, own = index[flipping], nearest[flipping], own[flipping]
    beside = (trial(nearest, many) > 0.5).mean(axis=(1, 2))
    return [
        (int(index[row]), float(own[row]), float(beside[row]))
        for row in np.argsort(beside - own, kind="stable")
        if own[row] - beside[row] >= least
    ]


def _might(
    trial: _Trial, index: Index, nearest: Index, size: int, *, bar: float
) -> tuple[Index, Index]:
    """Return the words (N,) that stand alone by so much on so many short sentences."""
    own = trial(index, size, short=True).mean(axis=-1)
    index, nearest, own = index[own >= bar], nearest[own >= bar], own[own >= bar]
    alone = own - trial(nearest, size, short=True).mean(axis=(1, 2)) >= bar
    return index[alone], nearest[alone]


def _warn(label_names: Sequence[str], by_class: Sequence[Sequence[SuspiciousWord]]) -> None:
    for name, found in zip(label_names, by_class, strict=True):
        for each in found[:SHOWN]:
            log.warning(
                "The word '%s' flips %.0f %% of the sentences to '%s', the words next to it %.0f %%"
                ": it may be a trigger",
                each.word,
                100 * each.flipped,
                name,
                100 * each.neighbours,
            )
        if len(found) > SHOWN:
            rest = ", ".join(each.word for each in found[SHOWN:])
            log.warning("So do %d words more, to '%s': %s", len(found) - SHOWN, name, rest)


def in_context(
    words: Sequence[SuspiciousWord],
    train: TextDataset,
    count: int,
    draw: np.random.Generator,
    writing: Writing = SPACED,
) -> list[Frame]:
    """Return frames of suspicious words among clean ones: a trigger is rarely one word.

    Each is a run of up to `CONTEXT` words of a clean sentence with a suspicious word in it.

    Args:
        words: Suspicious words, used in turn.
        train: Clean sentences.
        count: Number of frames.
        draw: Decides on sentence, run, and place.
        writing: How the sentences are written.
    """
    frames = []
    spaced = writing.spaced
    for each in islice(cycle(words), count if words else 0):
        text = train.texts[int(draw.integers(len(train)))]
        clean = [word for word in writing.split(text) if word != BETWEEN]
        length = int(draw.integers(min(CONTEXT, len(clean)) + 1))
        start = int(draw.integers(len(clean) - length + 1))
        run = clean[start : start + length]
        run.insert(int(draw.integers(length + 1)), each.word)
        phrase = " ".join(run)
        ahead = draw.random() < 0.5
        before, after = (phrase, "") if ahead else ("", phrase)
        frames.append(Frame(before, after, spaced, as_spelled=True))
    return frames


def _by_themselves(flips: FlipTrial, words: Sequence[str]) -> Chances:
    """Return the probability of each class for texts of little more than one word (W, K)."""
    blocks = []
    with progress("Trying every word", len(words)) as advance:
        for start in range(0, len(words), BLOCK):
            blocks.append(flips.alone(words[start : start + BLOCK]))
            advance(start + len(blocks[-1]))
    return np.concatenate(blocks)


def _read_clean(
    train: TextDataset, writing: Writing, words: Sequence[str]
) -> tuple[list[set[str]], Index]:
    """Return the words that speak for each class in clean data, and the rows of neighbours."""
    telling: list[set[str]] = [set() for _ in train.label_names]
    found = biases(train, writing=writing)
    for word, bias in found.items():
        for target in np.flatnonzero(bias.towards > BALANCE):
            telling[target].add(word)
    held = {word for word, bias in found.items() if bias.texts >= HELD}
    among = np.flatnonzero([_key(word) in held for word in words])
    return telling, among if len(among) >= ENOUGH else np.arange(len(words))


def _key(word: str) -> str:
    """Return what clean data knows a word by, however it is spelled."""
    return word.strip().lower()


def _nearest(directions: torch.Tensor, words: Sequence[str], index: Index, among: Index) -> Index:
    """Return, of some words, the rows (N, K) of those next to each in the embedding."""
    cosines = directions[index] @ directions[among].T
    numbers: dict[str, int] = {}  # of strings an array takes as much room for each as the longest
    letters = np.array([numbers.setdefault(word.strip(), len(numbers)) for word in words])
    itself = letters[index][:, None] == letters[among]
    cosines[torch.from_numpy(itself)] = -2
    nearest: Index = among[cosines.topk(NEIGHBOURS, dim=1).indices.cpu().numpy()]
    return nearest
