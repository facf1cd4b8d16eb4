"""Healing that unlearns the backdoor: inverted triggers are put into clean texts, labels kept.

The defender does not know the trigger. What flips the model's answers without saying anything can
be searched on clean data alone (`prune_env.rewards.inversion`); trained on such texts with their
true labels, the model gives up what the words stand for. It is repeated, since what flips most
hides what flips less.

Source: adversarial unlearning of backdoors (I-BAU, Zeng et al., ICLR 2022; BEEAR, Zeng et al.,
EMNLP 2024, in embeddings), here in words, under a mask of heads.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from prune_env.data.dataset import TextDataset
from prune_env.data.images import ImageDataset
from prune_env.errors import SettingsError
from prune_env.evaluation import MaskEvaluator
from prune_env.models import LoadedModel
from prune_env.models.masks import Mask
from prune_env.rewards.inversion import Frame, Inversion, invert
from prune_env.settings import FineTuneSettings
from prune_env.texts import CleanTexts
from prune_env.training import fine_tune

ROUNDS = 3
FRAMES = 24
SHARE = 0.6
TWICE = 0.3
"""Share of the framed texts that get a second frame: triggers are rarely one phrase."""

LEARNING_RATE_SCALE = 0.6


def unlearn(
    member: LoadedModel,
    *,
    mask: Mask,
    data: TextDataset,
    validation: TextDataset,
    settings: FineTuneSettings,
    rounds: int = ROUNDS,
    frames: int = FRAMES,
    share: float = SHARE,
    seed: int = 0,
    folder: Path | None = None,
    on_inversion: Callable[[Inversion], None] = lambda _: None,
) -> None:
    """Train inverted triggers out of a classifier, in place.

    Args:
        member: The classifier, its pruned heads zeroed.
        mask: Bool (L, H), True = kept; pruned heads stay closed.
        data: Clean sentences to train on, labels in the order of the model's logits; each round
            passes over another part of them, so that all rounds together are one epoch.
        validation: Clean sentences on which triggers are inverted, likewise.
        settings: Of the fine-tuning.
        rounds: Inversions, each followed by a fine-tuning.
        frames: Triggers of either class that a round adds.
        share: Share of the sentences that get a trigger of this round or an earlier one.
        seed: Of every draw.
        folder: Where TensorBoard events go.
        on_inversion: Called with what each round found, before it is unlearned.
    """
    draw = np.random.default_rng(seed)
    bank: list[Frame] = []
    for index, rows in enumerate(np.array_split(draw.permutation(len(data)), rounds)):
        length = settings.max_length
        judge = MaskEvaluator(member.model, member.tokenizer, validation, max_length=length)
        found = invert(
            CleanTexts(member, data, validation, judge, length), keep=frames, seed=seed + index
        )
        on_inversion(found)
        bank += [frame for of_class in found.by_class for frame in of_class]
        fine_tune(
            member.model,
            member.tokenizer,
            framed(data.select(np.sort(rows)), bank, share, draw),
            replace(settings, epochs=1, learning_rate=LEARNING_RATE_SCALE * settings.learning_rate),
            seed=seed + index,
            mask=mask,
            folder=folder,
            description=f"Unlearning inverted triggers, round {index + 1} of {rounds}",
        )


def unlearnable(data: TextDataset) -> bool:
    """Whether triggers can be inverted on such data: texts of two classes."""
    return len(data.label_names) == 2 and not isinstance(data, ImageDataset)


def check_unlearnable(data: TextDataset) -> None:
    """Raise a `SettingsError` unless triggers can be inverted on such data."""
    if not unlearnable(data):
        kind = "images" if isinstance(data, ImageDataset) else "texts"
        raise SettingsError(
            "Healing by unlearning inverts triggers in words",
            expected="texts of 2 classes",
            actual=f"{kind} of {len(data.label_names)} classes",
            remedy="choose another healing",
        )


def framed(
    data: TextDataset, frames: Sequence[Frame], share: float, draw: np.random.Generator
) -> TextDataset:
    """Return the data with random frames round a share of its texts, labels kept."""
    if not frames:
        return data

    def one() -> Frame:
        return frames[int(draw.integers(len(frames)))]

    def changed(text: str) -> str:
        if draw.random() >= share:
            return text
        text = one()(text)
        return one()(text) if draw.random() < TWICE else text

    texts = tuple(changed(text) for text in data.texts)
    return replace(data, texts=texts, source=f"{data.source} with inverted triggers")
