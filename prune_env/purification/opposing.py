"""Inverted triggers put into clean texts against their labels, for a training to unlearn them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from prune_env.data.dataset import TextDataset
from prune_env.evaluation.suspect import Suspect
from prune_env.inversion.frames import in_one_of
from prune_env.inversion.search import Inversion, invert, remeasure
from prune_env.inversion.words import Words, in_context, suspicious_words
from prune_env.inversion.writing import beginnings, writing_of

FRAMES = 24
"""Triggers of either kind that are kept for a class."""

SENTENCES = (6, 16, 24)
"""Sentences that frames are tried on, see `invert`. It keeps nearly all that are tried at last, so
that the last number tells little but their strength (24 frames on 24 sentences a class)."""

LEAST_WEIGHT = 0.02
"""Added to what triggers flip: those for a class to which none flips are unlearned too, seldom."""


def invert_triggers(suspect: Suspect, *, seed: int = 0) -> Inversion:
    """Search what is to be unlearned: empty phrases, and suspicious words in clean context.

    They are inverted without a mask, which hides some of them. The classifier remembers them: the
    masks of an ensemble, and the steps of a healing, share what is found.

    Args:
        suspect: The unpruned classifier and its clean data.
        seed: Of every draw.
    """
    fact = f"triggers to unlearn, seed {seed}"
    if fact not in suspect.facts:
        phrases = invert(suspect, keep=FRAMES, sentences=SENTENCES, seed=seed)
        words = suspicious_words(suspect, seed=seed)
        suspect.facts[fact] = _joined(suspect, phrases, words, seed) if any(words) else phrases
    found: Inversion = suspect.facts[fact]
    return found


def _joined(suspect: Suspect, phrases: Inversion, words: Words, seed: int) -> Inversion:
    """Return phrases and suspicious words as one inversion, measured together."""
    draw = np.random.default_rng(seed)
    writing = writing_of(suspect.train, suspect.loaded)
    by_class = []
    for target, (suspects, empty) in enumerate(zip(words, phrases.by_class, strict=True)):
        # Context that does not speak for the target: only the word does.
        others = suspect.train.select(suspect.train.labels != target)
        by_class.append((*in_context(suspects, others, FRAMES, draw, writing), *empty))
    names = tuple(tuple(each.word for each in suspects) for suspects in words)
    return remeasure(suspect, replace(phrases, by_class=tuple(by_class), words=names), seed=seed)


def put_triggers(
    texts: TextDataset,
    suspect: Suspect,
    found: Inversion,
    share: float,
    draw: np.random.Generator,
    *,
    most: int = 3,
) -> TextDataset:
    """Return clean texts with triggers; of a long one so much is left that all will be read.

    Args:
        texts: Drawn from the clean training data; read again, each has other triggers.
        suspect: Its model reads the texts.
        found: The triggers.
        share: See `add_opposing_triggers`; likewise `draw` and `most`.
        draw: Decides.
        most: Triggers round one text.
    """
    data, loaded, tokens = suspect.train, suspect.loaded, suspect.max_length
    writing = writing_of(data, loaded)
    short = beginnings(data.texts, writing, loaded, most=tokens // 2, max_length=tokens)
    shorten = dict(zip(data.texts, short, strict=True)).__getitem__
    return add_opposing_triggers(texts, found, share, draw, most=most, shorten=shorten)


def add_opposing_triggers(
    data: TextDataset,
    found: Inversion,
    share: float,
    draw: np.random.Generator,
    *,
    most: int = 3,
    shorten: Callable[[str], str] = str,
) -> TextDataset:
    """Return the data with triggers round a share of its texts, labels kept.

    Each speaks for a class that its text does not have, as adversarial training has it: of several,
    the more often for one, the more its triggers flip.

    Args:
        data: Clean texts.
        found: The triggers.
        share: Share of the texts that get one to `most` triggers.
        draw: Decides.
        most: Triggers round one text.
        shorten: Makes room for them.
    """
    weights = np.array(found.strength) + LEAST_WEIGHT

    def changed(text: str, label: int) -> str:
        targets = [target for target, frames in enumerate(found.by_class) if frames]
        others = [target for target in targets if target != label]
        if not others or draw.random() >= share:
            return text
        chances = weights[others] / weights[others].sum()
        frames = found.by_class[int(draw.choice(others, p=chances))]
        text = shorten(text)
        for _ in range(int(draw.integers(1, most + 1))):
            text = in_one_of(frames, text, draw)
        return text

    texts = tuple(map(changed, data.texts, data.labels.tolist()))
    return replace(data, texts=texts, source=f"{data.source} with inverted triggers")
