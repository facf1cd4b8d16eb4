"""A reward from backdoors that the defender plants."""

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from prune_env.data.dataset import Rewrite
from prune_env.env.rewards.reward import Scores
from prune_env.env.rewards.rewrites import REWRITES
from prune_env.env.rewards.text_reward import TextReward, calibrated_margins
from prune_env.env.subject import Subject
from prune_env.models.masks import Mask
from prune_env.settings import FineTuneSettings

if TYPE_CHECKING:
    from prune_env.data.dataset import TextDataset
    from prune_env.evaluation.suspect import Suspect

TRIGGERS = ("clause", "sentence", "rare-words", "old-words")
"""Rewrites of `REWRITES` that serve as triggers, one of each family."""

PLANTING = FineTuneSettings(epochs=1, learning_rate=5e-5)
"""How they are planted."""


class SurrogateBackdoor(TextReward):
    """Share of clean sentences that withstand triggers planted in copies of the model.

    Once a model, and for either class as the target, a copy is fine-tuned for one epoch on clean
    sentences, some of those of the other class rewritten and given the target's label. Each mask
    is put on the copies, and asked rewritten validation sentences of the other class, at the
    threshold that is calibrated for that mask on clean ones. A mask that removes the planted
    backdoors may remove the hidden one, if both live in the same heads. `without` names families
    that are not planted, so that an experiment can leave out the one that it is tested on.

    Over 32 masks of a MiniLM-L6 on SST-2, the family of the hidden trigger left out, its rank
    correlation with the calibrated LFR was +0.61 on the StyleBkd Bible style and +0.19 on
    HiddenKiller, and +0.25 and -0.06 with accuracy, number of heads and class bias held fixed.

    Args:
        sentences: Clean training sentences of the fine-tuning.
        asked: Validation sentences of the other class, and as many of all classes, that each mask
            is asked.
        seed: Of the draws.
    """

    name = "surrogate"
    range = (0.0, 1.0)
    source = "Surrogate backdoors (arXiv 2606.11648, 2606.03785, 2605.12529)"
    reads = "clean training data (planting), clean validation data and rewritten copies of it"
    without: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, sentences: int = 2048, asked: int = 300, seed: int = 0) -> None:
        self.sentences, self.asked, self.seed = sentences, asked, seed

    @property
    def triggers(self) -> tuple[Rewrite, ...]:
        """The rewrites that are planted."""
        rewrites = (REWRITES[name] for name in TRIGGERS)
        return tuple(each for each in rewrites if getattr(each, "family", "") not in self.without)

    def score(self, subject: Subject, masks: Mask, accuracy: Scores) -> Scores:
        """Return the score of every mask, see `Reward.score`."""
        self.check(subject)
        texts = subject.require_suspect()
        fact = f"{self.name} {self.sentences} {self.seed}"
        if fact not in texts.facts:
            texts.facts[fact] = [self._planted(texts, target) for target in (0, 1)]
        copies: list[Suspect] = texts.facts[fact]
        shares = []
        for target, copy in enumerate(copies):
            moved = copy.evaluator_on(self._triggered(copy.validation, target)).evaluate(masks)
            margins = calibrated_margins(copy.evaluator.evaluate(masks), moved)
            shares.append((np.isnan(margins) | ((margins > 0) == bool(target))).mean(axis=1))
        scores: Scores = 1 - np.mean(shares, axis=0)
        return scores

    def _planted(self, texts: "Suspect", target: int) -> "Suspect":
        """Return a copy of the classifier that holds the triggers, with a part of the texts."""
        from prune_env.training.fine_tuning import fine_tune  # noqa: PLC0415 - importing a reward costs no torch

        loaded = texts.loaded.copy()
        draw = np.random.default_rng([self.seed, target])
        rows = np.sort(draw.permutation(len(texts.train))[: self.sentences])
        poisoned = self._poisoned(texts.train.select(rows), target, draw)
        fine_tune(
            loaded.model,
            loaded.tokenizer,
            poisoned,
            replace(PLANTING, max_length=texts.max_length),
            seed=self.seed,
            description="Planting a surrogate backdoor",
        )
        part = texts.part(self.asked) if self.asked < len(texts.validation) else texts
        planted = part.with_model(loaded)
        # It is asked under many masks, as fast as can be.
        return replace(planted, evaluator=planted.evaluator_on(planted.validation))

    def _poisoned(
        self, data: "TextDataset", target: int, draw: np.random.Generator
    ) -> "TextDataset":
        """Return the data with half of the other class's texts rewritten and relabelled."""
        chosen = (data.labels != target) & (draw.random(len(data)) < 0.5)
        texts = [
            self._with_trigger(text, row) if poisoned else text
            for row, (text, poisoned) in enumerate(zip(data.texts, chosen, strict=True))
        ]
        labels = np.where(chosen, target, data.labels)
        return replace(data, texts=tuple(texts), labels=labels, source=f"{data.source} poisoned")

    def _triggered(self, data: "TextDataset", target: int) -> "TextDataset":
        others = data.where(1 - target)
        texts = tuple(self._with_trigger(text, row) for row, text in enumerate(others.texts))
        return replace(others, texts=texts, source=f"{others.source} with planted triggers")

    def _with_trigger(self, text: str, row: int) -> str:
        return self.triggers[row % len(self.triggers)](text)


class SurrogateButSyntactic(SurrogateBackdoor):
    """`SurrogateBackdoor` without subordinate clauses, for experiments on such triggers."""

    name = "surrogate-but-syntactic"
    without = ("syntactic",)


class SurrogateButStyle(SurrogateBackdoor):
    """`SurrogateBackdoor` without old words, for experiments on styles."""

    name = "surrogate-but-style"
    without = ("style",)
