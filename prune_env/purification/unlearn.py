"""Healing that unlearns the backdoor: inverted triggers are put into clean texts, labels kept.

The defender does not know the trigger. What flips the model's answers without saying anything can
be searched on clean data alone (`prune_env.inversion.search`, `prune_env.inversion.words`); trained
on texts that hold what speaks for the other class, with their true labels, the model gives up what
the words stand for.

Source: adversarial unlearning of backdoors (I-BAU, Zeng et al., ICLR 2022; BEEAR, Zeng et al.,
EMNLP 2024, in embeddings), here in words, under a mask of heads.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from prune_env.data.dataset import TextDataset
from prune_env.data.images import ImageDataset
from prune_env.errors import SettingsError
from prune_env.evaluation.suspect import Suspect
from prune_env.inversion.frames import in_one_of
from prune_env.inversion.search import Inversion, invert, remeasure
from prune_env.inversion.words import in_context, suspicious_words
from prune_env.inversion.writing import beginnings, writing_of
from prune_env.purification.findings import describe_triggers
from prune_env.purification.recentre import recentre
from prune_env.purification.step import MaskedModel, Step, StepReport
from prune_env.training.fine_tuning import fine_tune
from prune_env.training.phases import TrainingRun
from prune_env.utils.event_kinds import TriggersFound
from prune_env.utils.events import emit

FRAMES = 24
"""Triggers of either kind that are kept for a class."""

LEAST_WEIGHT = 0.02
"""Added to what triggers flip: those for a class to which none flips are unlearned too, seldom."""


@dataclass(frozen=True)
class Unlearn(Step):
    """Train inverted triggers out of a classifier.

    Attributes:
        share: Share of the texts that get triggers; less where the layers were refitted, which
            leaves less to unlearn.
        sentences: Texts that the model is trained on; of few, each is read several times.
        most: Triggers round one text: a trigger is rarely one phrase.
        learning_rate_scale: Rate of the training over that of the fine-tuning before.
    """

    removes_backdoor: ClassVar[bool] = True
    share: float = 0.7
    sentences: int = 2048
    most: int = 3
    learning_rate_scale: float = 0.6

    def check(self, train: TextDataset) -> None:
        """Raise a `SettingsError` unless triggers can be inverted on such data."""
        if not unlearnable(train):
            kind = "images" if isinstance(train, ImageDataset) else "texts"
            raise SettingsError(
                "Healing by unlearning inverts triggers in words",
                expected="texts of at least 2 classes",
                actual=f"{kind} of {len(train.label_names)} classes",
                remedy="choose another healing",
            )

    def apply(self, model: MaskedModel, run: TrainingRun) -> StepReport:
        """Unlearn, see `Step.apply`; of the settings, epochs do not count."""
        suspect, loaded = model.suspect, model.loaded
        # Inverted without the mask, which hides some of the triggers; the masks of an ensemble
        # share what is found.
        fact = f"triggers to unlearn, seed {run.seed}"
        if fact not in suspect.facts:
            suspect.facts[fact] = invert_triggers(suspect, seed=run.seed)
        found: Inversion = suspect.facts[fact]
        names = loaded.label_names
        emit(TriggersFound("before", describe_triggers(found, names)))
        fine_tune(
            loaded.model,
            loaded.tokenizer,
            self._with_triggers(suspect, found, run.seed),
            replace(
                run.settings,
                epochs=1,
                learning_rate=self.learning_rate_scale * run.settings.learning_rate,
            ),
            seed=run.seed,
            mask=model.mask,
            folder=run.place("unlearn"),
            description="Unlearning inverted triggers",
        )
        clean = recentre(loaded, model.judge)
        # The evaluator, of the model as it was, is not asked: the answers to clean texts are known.
        purified = replace(suspect, loaded=loaded, unit_map=None)
        left = remeasure(purified, found, seed=run.seed, clean=clean)
        emit(TriggersFound("after", describe_triggers(left, names)))
        return StepReport(inverted=found, left=left)

    def _with_triggers(self, suspect: Suspect, found: Inversion, seed: int) -> TextDataset:
        """Return texts to train on, drawn from the data; read again, each has other triggers.

        So much of a long text is left that what is put behind it will be read.
        """
        data, loaded, tokens = suspect.train, suspect.loaded, suspect.max_length
        writing = writing_of(data, loaded)
        short = beginnings(data.texts, writing, loaded, most=tokens // 2, max_length=tokens)
        shorten = dict(zip(data.texts, short, strict=True)).__getitem__
        draw = np.random.default_rng(seed)
        chosen = data.sample(self.sentences, draw)
        return add_opposing_triggers(
            chosen, found, self.share, draw, most=self.most, shorten=shorten
        )


def invert_triggers(suspect: Suspect, *, seed: int = 0) -> Inversion:
    """Search what is to be unlearned: empty phrases, and suspicious words in clean context.

    Args:
        suspect: The unpruned classifier and its clean data.
        seed: Of every draw.
    """
    phrases = invert(suspect, keep=FRAMES, seed=seed)
    words = suspicious_words(suspect, seed=seed)
    if not any(words):
        return phrases
    draw = np.random.default_rng(seed)
    writing = writing_of(suspect.train, suspect.loaded)
    by_class = []
    for target, (suspects, empty) in enumerate(zip(words, phrases.by_class, strict=True)):
        # Context that does not speak for the target: only the word does.
        others = suspect.train.select(suspect.train.labels != target)
        by_class.append((*in_context(suspects, others, FRAMES, draw, writing), *empty))
    names = tuple(tuple(each.word for each in suspects) for suspects in words)
    return remeasure(suspect, replace(phrases, by_class=tuple(by_class), words=names), seed=seed)


def unlearnable(data: TextDataset) -> bool:
    """Whether triggers can be inverted on such data: texts of several classes."""
    return len(data.label_names) > 1 and not isinstance(data, ImageDataset)


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
