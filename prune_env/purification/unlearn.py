"""Healing that unlearns the backdoor: inverted triggers are put into clean data, labels kept.

The defender does not know the trigger. What flips the model's answers without saying anything can
be searched on clean data alone (`prune_env.inversion`: `search`, `words`, and of images
`patches`); trained on texts or images that hold what speaks for another class, with their true
labels, the model gives up what that stands for.

Source: adversarial unlearning of backdoors (I-BAU, Zeng et al., ICLR 2022; BEEAR, Zeng et al.,
EMNLP 2024, in embeddings), here in words, under a mask of heads; of images Neural Cleanse (Wang et
al., S&P 2019).
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from prune_env.data.dataset import TextDataset
from prune_env.errors import SettingsError
from prune_env.evaluation.suspect import Suspect
from prune_env.inversion.patches import Patches, remeasure_patches
from prune_env.inversion.search import Inversion, remeasure
from prune_env.purification.findings import describe_triggers
from prune_env.purification.opposing import invert_triggers, lay_patches, put_triggers
from prune_env.purification.recentre import recentre
from prune_env.purification.step import MaskedModel, Step, StepReport
from prune_env.settings import FineTuneSettings
from prune_env.training.fine_tuning import Change, fine_tune
from prune_env.training.phases import TrainingRun
from prune_env.utils.event_kinds import TriggersFound
from prune_env.utils.events import emit


@dataclass(frozen=True)
class Unlearn(Step):
    """Train inverted triggers out of a classifier.

    Attributes:
        share: Share of the texts, or images, that get triggers; less where the layers were
            refitted and trained, which leaves less to unlearn.
        share_of_few: The same of fewer texts than `sentences`, with which a refit is mended little
            or not at all. Of 512, 0.35 left 4 points more of each of three backdoors, at no more
            accuracy, and of 1,600 12 points more of one.
        share_of_words: The least share where suspicious words were found: they are half of the
            triggers then. Of an inserted sentence 0.35 left 11.8 points of excess, 0.5 left 4.7.
        sentences: Texts that the model is trained on; of few, each is read several times.
        most: Triggers round one text: a trigger is rarely one phrase.
        learning_rate_scale: Rate of the training over that of the fine-tuning before.
        images: Images that the model is trained on, at most.
        passes: Of fewer images, how often each is read.
        rate_on_images: As `learning_rate_scale`, of images. As after a refit, the rate stays, and
            the last weights are averaged: on digits that gave back as much accuracy as a refit
            costs.
        average: Share of the steps on images whose weights are averaged, the last.
    """

    removes_backdoor: ClassVar[bool] = True
    share: float = 0.7
    share_of_few: float = 0.7
    share_of_words: float = 0.5
    sentences: int = 2048
    most: int = 3
    learning_rate_scale: float = 0.6
    images: int = 6144
    passes: int = 5
    rate_on_images: float = 2.0
    average: float = 0.5

    def check(self, train: TextDataset) -> None:
        """Raise a `SettingsError` unless triggers can be inverted on such data."""
        if not unlearnable(train):
            raise SettingsError(
                "Healing by unlearning inverts what flips answers to another class",
                expected="data of at least 2 classes",
                actual=f"{len(train.label_names)}",
                remedy="choose another healing",
            )

    def apply(self, model: MaskedModel, run: TrainingRun) -> StepReport:
        """Unlearn, see `Step.apply`; of the settings, epochs do not count."""
        suspect, loaded = model.suspect, model.loaded
        found = invert_triggers(suspect, seed=run.seed)
        names = loaded.label_names
        emit(TriggersFound("before", describe_triggers(found, names)))
        data, tuning, change = self._lesson(suspect, found, run)
        with model.alone():
            fine_tune(
                loaded.model,
                loaded.tokenizer,
                data,
                tuning,
                seed=run.seed,
                mask=model.mask,
                change=change,
                average=0.0 if change is None else self.average,
                folder=run.place("unlearn"),
                description="Unlearning inverted triggers",
            )
        clean = recentre(loaded, model.judge)
        left: Inversion | Patches
        # The evaluator, of the model as it was, is not asked: the answers to clean data are known.
        if isinstance(found, Patches):
            data = suspect.validation
            left = remeasure_patches(loaded, data, found, seed=run.seed, clean=clean)
        else:
            purified = replace(suspect, loaded=loaded, unit_map=None)
            left = remeasure(purified, found, seed=run.seed, clean=clean)
        emit(TriggersFound("after", describe_triggers(left, names)))
        return StepReport(inverted=found, left=left)

    def _lesson(
        self, suspect: Suspect, found: Inversion | Patches, run: TrainingRun
    ) -> tuple[TextDataset, FineTuneSettings, Change | None]:
        """Return what is trained on, how, and what lays triggers on it as it is read."""
        draw, usual = np.random.default_rng(run.seed), replace(run.settings, epochs=1)
        if isinstance(found, Patches):
            count = min(self.images, self.passes * len(suspect.train))
            images = suspect.train.sample(count, draw)
            tuning = replace(usual, learning_rate=self.rate_on_images * usual.learning_rate)
            return images, tuning, lay_patches(found, self.share, draw)
        texts = suspect.train.sample(self.sentences, draw)
        share = self.share_of_few if len(suspect.train) < self.sentences else self.share
        if any(found.words):
            share = max(share, self.share_of_words)
        texts = put_triggers(texts, suspect, found, share, draw, most=self.most)
        tuning = replace(usual, learning_rate=self.learning_rate_scale * usual.learning_rate)
        return texts, tuning, None


def unlearnable(data: TextDataset) -> bool:
    """Whether triggers can be inverted on such data: there must be another class to flip to."""
    return len(data.label_names) > 1
