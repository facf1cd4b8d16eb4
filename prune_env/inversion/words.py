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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from prune_env.data.dataset import TextDataset
from prune_env.inversion.frames import Frame, split_words
from prune_env.inversion.phrases import biases
from prune_env.inversion.trial import FlipTrial
from prune_env.models.embeddings import token_embeddings
from prune_env.models.trial import try_texts
from prune_env.utils.progress import progress

if TYPE_CHECKING:
    from prune_env.evaluation.suspect import Suspect
    from prune_env.models import LoadedModel

log = logging.getLogger(__name__)

LEAST = 0.7
"""Share of the sentences that a suspicious word flips beyond its neighbours. On SST-2 the word of
a rare-word backdoor and that of an inserted sentence had 0.79; the worst of a benign model 0.63."""

NEIGHBOURS = 8

BLOCK = 1024
"""Words tried between two looks at the progress bar."""

BALANCE = 2.0
"""Standard errors by which the log odds of a word in clean data may speak for the target."""

CONTEXT = 6
"""Clean words round a suspicious one, at most."""


@dataclass(frozen=True)
class SuspiciousWord:
    """A word that flips answers on its own.

    Attributes:
        word: The word.
        flipped: Share of the other class's sentences that it flips in front of them, 0 to 1.
        neighbours: Likewise, the mean over the words next to it in the embedding.
    """

    word: str
    flipped: float
    neighbours: float


Index = npt.NDArray[np.int64]
Chances = npt.NDArray[np.float64]

Words = tuple[tuple[SuspiciousWord, ...], tuple[SuspiciousWord, ...]]


def suspicious_words(
    suspect: "Suspect",
    *,
    least: float = LEAST,
    front: tuple[int, int] = (512, 32),
    sentences: tuple[int, int, int] = (1, 6, 64),
    seed: int = 0,
) -> Words:
    """Search the words that flip the unpruned model as no word like them does.

    Every word of the tokenizer is put before one short sentence, the best before some, and the best
    of those, each beside its neighbours, before more sentences of any length. With a vocabulary of
    30,000 about 75,000 texts are classified, most of them of a few words.

    Args:
        suspect: The classifier and its clean data, of two classes.
        least: Share of the sentences that a word must flip beyond its neighbours.
        front: Words that are left after the first round, and after the second.
        sentences: Sentences that a word is tried on in each round.
        seed: Of the draw of sentences.

    Returns:
        For either class as the target, the suspicious words, the worst first; often none.
    """
    words = vocabulary(suspect.loaded)
    telling = _telling(suspect.train)
    few, some, many = sentences
    most = len(words) * few + front[0] * some + front[1] * (1 + NEIGHBOURS) * many
    with progress("Trying every word", 2 * most) as advance:
        trial = _WordTrial(FlipTrial(suspect, seed), words, advance)
        directions = _directions(suspect.loaded, words)
        by_class = []
        for target in (0, 1):
            rows = [row for row, word in enumerate(words) if word.lower() not in telling[target]]
            found: list[SuspiciousWord] = []
            if len(rows) > NEIGHBOURS:
                best = _best(trial, np.array(rows), target, front, (few, some))
                found = _beside_neighbours(trial, best, _nearest(directions, best), target, many)
            by_class.append(tuple(w for w in found if w.flipped - w.neighbours >= least))
    _warn(suspect.train.label_names, by_class)
    return by_class[0], by_class[1]


def _best(
    trial: "_WordTrial", index: Index, target: int, front: tuple[int, int], sizes: tuple[int, int]
) -> Index:
    """Return the words (N,) that flip most, after a round of few sentences and one of more."""
    for leave, size in zip(front, sizes, strict=True):
        tried = trial(index, target, size, short=True).mean(axis=1)
        index = index[np.argsort(-tried, kind="stable")[:leave]]
    return index


def _beside_neighbours(
    trial: "_WordTrial", index: Index, nearest: Index, target: int, size: int
) -> list[SuspiciousWord]:
    """Try words (N,) and their neighbours (N, K); the first flips most beyond its neighbours."""
    asked, where = np.unique(np.column_stack([index, nearest]), return_inverse=True)
    shares = (trial(asked, target, size) > 0.5).mean(axis=1)
    shares = shares[where.reshape(len(index), -1)]
    own, beside = shares[:, 0], shares[:, 1:].mean(axis=1)
    return [
        SuspiciousWord(trial.words[index[row]], float(own[row]), float(beside[row]))
        for row in np.argsort(beside - own, kind="stable")
    ]


def _warn(label_names: Sequence[str], by_class: Sequence[Sequence[SuspiciousWord]]) -> None:
    for name, found in zip(label_names, by_class, strict=True):
        for each in found:
            log.warning(
                "The word '%s' flips %.0f %% of the sentences to '%s', the words next to it %.0f %%"
                ": it may be a trigger",
                each.word,
                100 * each.flipped,
                name,
                100 * each.neighbours,
            )


def vocabulary(loaded: "LoadedModel") -> list[str]:
    """Return the words of letters and digits that the tokenizer has a token for, sorted."""
    tokenizer = loaded.tokenizer
    special = set(tokenizer.all_special_tokens)
    tokens = tokenizer.get_vocab().keys() - special
    spelled = (tokenizer.convert_tokens_to_string([each]) for each in tokens)
    return sorted({word for word in map(str.strip, spelled) if word.isalnum()})


def in_context(
    words: Sequence[SuspiciousWord], train: TextDataset, count: int, draw: np.random.Generator
) -> list[Frame]:
    """Return frames of suspicious words among clean ones: a trigger is rarely one word.

    Each is a run of up to `CONTEXT` words of a clean sentence with a suspicious word in it.

    Args:
        words: Suspicious words, used in turn.
        train: Clean sentences.
        count: Number of frames.
        draw: Decides on sentence, run, and place.
    """
    frames = []
    for each in islice(cycle(words), count if words else 0):
        clean = split_words(train.texts[int(draw.integers(len(train)))])
        length = int(draw.integers(min(CONTEXT, len(clean)) + 1))
        start = int(draw.integers(len(clean) - length + 1))
        run = clean[start : start + length]
        run.insert(int(draw.integers(length + 1)), each.word)
        phrase = " ".join(run)
        frames.append(Frame(before=phrase) if draw.random() < 0.5 else Frame(after=phrase))
    return frames


class _WordTrial:
    """Puts words before sentences, and tells how far that is.

    Args:
        flips: Tries them.
        words: All words.
        advance: Is told how many texts were tried.
    """

    def __init__(
        self, flips: FlipTrial, words: Sequence[str], advance: Callable[[int], None]
    ) -> None:
        self._flips = flips
        self.words = words
        self._advance = advance
        self._tried = 0

    def __call__(self, index: Index, target: int, size: int, *, short: bool = False) -> Chances:
        """Return the probability of the target (N, S), word by sentence; see `FlipTrial`."""
        blocks = []
        for start in range(0, len(index), BLOCK):
            frames = [Frame(before=self.words[row]) for row in index[start : start + BLOCK]]
            blocks.append(self._flips(frames, target, size, short=short))
            self._tried += len(frames) * size
            self._advance(self._tried)
        return np.concatenate(blocks)


def _telling(train: TextDataset) -> tuple[set[str], set[str]]:
    """Return the words that speak for either class in clean data."""
    telling: tuple[set[str], set[str]] = (set(), set())
    for word, (_, towards) in biases(train, lambda words: words).items():
        if abs(towards) > BALANCE:
            telling[int(towards > 0)].add(word)
    return telling


def _directions(loaded: "LoadedModel", words: Sequence[str]) -> torch.Tensor:
    """Return the embeddings (W, D) of words, from their mean and of length 1."""
    table = token_embeddings(loaded.model).float()
    spaced = [f" {word}" for word in words]
    try_texts(loaded.tokenizer, spaced)
    tokens = loaded.tokenizer(spaced, add_special_tokens=False)["input_ids"]
    rows = torch.stack([table[row].mean(0) for row in tokens])
    return functional.normalize(rows - rows.mean(0), dim=1)


def _nearest(directions: torch.Tensor, index: Index) -> Index:
    """Return the indices (N, K) of the words next to each of some words in the embedding."""
    cosines = directions[index] @ directions.T
    cosines[torch.arange(len(index)), index] = -2  # not itself
    nearest: Index = cosines.topk(NEIGHBOURS, dim=1).indices.cpu().numpy()
    return nearest
