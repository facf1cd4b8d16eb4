"""Healing that unlearns the backdoor: inverted triggers are put into clean texts, labels kept.

The defender does not know the trigger. What flips the model's answers without saying anything can
be searched on clean data alone (`prune_env.inversion.search`, `prune_env.inversion.words`); trained
on texts that hold what speaks for the other class, with their true labels, the model gives up what
the words stand for.
Last go the neurons through which the same words still act: no training follows that could grow
them back.

Source: adversarial unlearning of backdoors (I-BAU, Zeng et al., ICLR 2022; BEEAR, Zeng et al.,
EMNLP 2024, in embeddings), here in words, under a mask of heads; see `neuron_pruning` for the rest.
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from prune_env.data.dataset import TextDataset
from prune_env.data.images import ImageDataset
from prune_env.errors import SettingsError
from prune_env.evaluation import MaskEvaluator
from prune_env.evaluation.suspect import Suspect
from prune_env.inversion.phrases import in_one_of
from prune_env.inversion.search import Inversion, invert, remeasure
from prune_env.inversion.words import in_context, suspicious_words
from prune_env.models import LoadedModel
from prune_env.models.masks import Mask
from prune_env.purification.neuron_pruning import prune_neurons, recentre
from prune_env.settings import FineTuneSettings
from prune_env.training.fine_tuning import fine_tune

FRAMES = 24
SENTENCES = 2048
"""Texts that the model is trained on."""

SHARE = 0.7
"""Share of the texts that get triggers."""

SHARE_REFITTED = 0.35
"""Likewise, where the layers were refitted: less is left to unlearn."""

MOST = 3
"""Triggers round one text: a trigger is rarely one phrase."""

LEARNING_RATE_SCALE = 0.6


def inverted_triggers(texts: Suspect, *, seed: int = 0) -> Inversion:
    """Search what is to be unlearned: empty phrases, and suspicious words in clean context.

    Args:
        texts: The unpruned classifier and its clean data, of two classes.
        seed: Of every draw.
    """
    phrases = invert(texts, keep=FRAMES, seed=seed)
    words = suspicious_words(texts, seed=seed)
    if not any(words):
        return phrases
    draw = np.random.default_rng(seed)
    frames = []
    for target, (suspects, empty) in enumerate(zip(words, phrases.by_class, strict=True)):
        # Context that speaks for the text's own label: only the word speaks against it.
        others = texts.train.where(1 - target)
        frames.append((*in_context(suspects, others, FRAMES, draw), *empty))
    names = [tuple(each.word for each in suspects) for suspects in words]
    return remeasure(
        texts,
        replace(phrases, by_class=(frames[0], frames[1]), words=(names[0], names[1])),
        seed=seed,
    )


def unlearn(
    member: LoadedModel,
    found: Inversion,
    *,
    mask: Mask,
    data: TextDataset,
    validation: TextDataset,
    settings: FineTuneSettings,
    share: float = SHARE,
    seed: int = 0,
    folder: Path | None = None,
) -> Inversion:
    """Train inverted triggers out of a classifier, and prune the neurons that they act through.

    Args:
        member: The classifier, its pruned heads zeroed; changed in place.
        found: Triggers inverted on the *unpruned* classifier: a mask hides some of them.
        mask: Bool (L, H), True = kept; pruned heads stay closed.
        data: Clean sentences to train on, labels in the order of the model's logits.
        validation: Clean sentences that accuracy and threshold are judged on, likewise.
        settings: Of the fine-tuning; epochs do not count.
        share: Share of the sentences that get triggers.
        seed: Of every draw.
        folder: Where TensorBoard events go.

    Returns:
        The triggers with what they still flip in the end.
    """
    length = settings.max_length
    draw = np.random.default_rng(seed)
    # Few sentences are read several times, each time in other triggers.
    passes = math.ceil(SENTENCES / len(data))
    rows = np.concatenate([draw.permutation(len(data)) for _ in range(passes)])[:SENTENCES]
    fine_tune(
        member.model,
        member.tokenizer,
        opposed(data.select(np.sort(rows)), found, share, draw),
        replace(settings, epochs=1, learning_rate=LEARNING_RATE_SCALE * settings.learning_rate),
        seed=seed,
        mask=mask,
        folder=None if folder is None else folder / "unlearn",
        description="Unlearning inverted triggers",
    )

    def texts() -> Suspect:
        # Anew after every change: an evaluator refuses weights that are not those of its start.
        judge = MaskEvaluator(member.model, member.tokenizer, validation, max_length=length)
        return Suspect(member, data, validation, judge, length)

    trained = texts()
    prune_neurons(trained, found.frames, found.target, seed=seed)
    recentre(trained)
    return remeasure(texts(), found, seed=seed)


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


def opposed(
    data: TextDataset, found: Inversion, share: float, draw: np.random.Generator
) -> TextDataset:
    """Return the data with triggers round a share of its texts, labels kept.

    Each speaks for the class that its text does not have, as adversarial training has it.

    Args:
        data: Clean texts of two classes.
        found: The triggers.
        share: Share of the texts that get one to `MOST` triggers.
        draw: Decides.
    """

    def changed(text: str, label: int) -> str:
        frames = found.by_class[1 - label]
        if not frames or draw.random() >= share:
            return text
        for _ in range(int(draw.integers(1, MOST + 1))):
            text = in_one_of(frames, text, draw)
        return text

    texts = tuple(map(changed, data.texts, data.labels.tolist()))
    return replace(data, texts=texts, source=f"{data.source} with inverted triggers")
