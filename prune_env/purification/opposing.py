"""Inverted triggers put into clean data against its labels, for a training to unlearn them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from prune_env.data.dataset import TextDataset
from prune_env.data.images import ImageDataset
from prune_env.evaluation.suspect import Suspect
from prune_env.inversion.frames import in_one_of
from prune_env.inversion.patches import Patches, invert_patches
from prune_env.inversion.search import Inversion, invert, remeasure
from prune_env.inversion.words import Words, in_context, suspicious_words
from prune_env.inversion.writing import beginnings, writing_of
from prune_env.training.fine_tuning import Change

FRAMES = 24
"""Triggers of either kind that are kept for a class."""

SENTENCES = (6, 16, 24)
"""Sentences that frames are tried on, see `invert`. It keeps nearly all that are tried at last, so
that the last number tells little but their strength (24 frames on 24 sentences a class)."""

LEAST_WEIGHT = 0.02
"""Added to what triggers flip: those for a class to which none flips are unlearned too, seldom."""


def invert_triggers(suspect: Suspect, *, seed: int = 0) -> Inversion | Patches:
    """Search what is to be unlearned: phrases and suspicious words of texts, patches of images.

    Phrases are empty, and suspicious words stand in clean context. All are inverted without a mask,
    which hides some of them. The classifier remembers them: the masks of an ensemble, and the steps
    of a healing, share what is found.

    Args:
        suspect: The unpruned classifier and its clean data.
        seed: Of every draw.
    """
    fact = f"triggers to unlearn, seed {seed}"
    if fact not in suspect.facts:
        images = isinstance(suspect.train, ImageDataset)
        suspect.facts[fact] = (_patches if images else _phrases_and_words)(suspect, seed)
    found: Inversion | Patches = suspect.facts[fact]
    return found


def _patches(suspect: Suspect, seed: int) -> Patches:
    return invert_patches(suspect.loaded, suspect.train, suspect.validation, seed=seed)


def _phrases_and_words(suspect: Suspect, seed: int) -> Inversion:
    phrases = invert(suspect, keep=FRAMES, sentences=SENTENCES, seed=seed)
    words = suspicious_words(suspect, seed=seed)
    return _joined(suspect, phrases, words, seed) if any(words) else phrases


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


def lay_patches(found: Patches, share: float, draw: np.random.Generator) -> Change:
    """Return what lays patches over a share of each batch of images, labels kept.

    Each speaks for a class that its image does not have, the more often for one, the more its patch
    flips and the less it covers: a small one is a trigger more likely than what a class looks like.

    Args:
        found: The patches.
        share: Of the images, 0 to 1.
        draw: Decides.
    """
    cell = 1 / found.opacity[0].numel()  # one that is smaller is faded, and no trigger
    weights = (np.array(found.strength) + LEAST_WEIGHT) / np.maximum(found.covered, cell)

    def change(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        pixels, labels = inputs["pixel_values"], inputs["labels"].tolist()
        classes = np.full(len(labels), -1)
        for row in np.flatnonzero(draw.random(len(labels)) < share):
            chances = np.where(np.arange(len(weights)) == labels[row], 0, weights)
            classes[row] = draw.choice(len(weights), p=chances / chances.sum())
        aims = torch.from_numpy(classes).to(pixels.device)
        return {**inputs, "pixel_values": found.over(pixels, aims)}

    return change
