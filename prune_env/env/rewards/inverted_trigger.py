"""A reward from triggers inverted on the suspicious model."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from prune_env.env.rewards.reward import Scores
from prune_env.env.rewards.text_reward import TextReward
from prune_env.env.subject import Subject
from prune_env.evaluation.metrics import calibrated_answers
from prune_env.inversion.search import Inversion, invert
from prune_env.models.masks import Mask

if TYPE_CHECKING:
    from prune_env.data.dataset import TextDataset
    from prune_env.evaluation.suspect import Suspect


class InvertedTrigger(TextReward):
    """Share of clean sentences that withstand the inverted triggers, at a calibrated threshold.

    Once a model, `invert` searches empty phrases that flip the *unpruned* model most; the class
    that they flip to is the suspected target. Each mask is then asked the clean validation
    sentences of the other classes in these frames. It uses no trigger, no trigger family and no
    target label. How much the phrases flip (`Inversion.strength`) is no detector: empty phrases
    flip a benign model as much as one with HiddenKiller (24 % of the sentences).

    Over masks of a MiniLM-L6 on SST-2 its rank correlation with the calibrated LFR was +0.92 on
    HiddenKiller (32 masks) and +0.87 on StyleBkd poetry (56), and +0.93 and +0.70 with accuracy,
    number of heads and class bias held fixed.

    Args:
        frames: Frames that are used.
        sentences: Sentences that are put into each.
    """

    name = "inverted-trigger"
    range = (0.0, 1.0)
    source = "Trigger inversion: Neural Cleanse (S&P 2019), PICCOLO (S&P 2022), DBS (ICML 2022)"
    reads = "clean training data (phrases), clean validation data in frames"

    classes = None

    def __init__(self, *, frames: int = 8, sentences: int = 60) -> None:
        self.frames = frames
        self.sentences = sentences

    def score(self, subject: Subject, masks: Mask, accuracy: Scores) -> Scores:
        """Return the score of every mask, see `Reward.score`; the triggers are searched once."""
        self.check(subject)
        suspect = subject.require_suspect()
        fact = f"inversion {self.frames}"
        if fact not in suspect.facts:
            suspect.facts[fact] = invert(suspect, keep=self.frames)
        found: Inversion = suspect.facts[fact]
        if not found.frames:
            return np.ones(len(masks))
        moved = suspect.evaluator_on(self._framed(suspect, found)).evaluate(masks)
        clean = subject.evaluator.evaluate(masks)
        answers = calibrated_answers(clean.logits, clean.labels, moved.logits)
        flipped = (answers == found.target) | (answers < 0)
        scores: Scores = 1 - flipped.mean(axis=1)
        return scores

    def _framed(self, texts: "Suspect", found: Inversion) -> "TextDataset":
        others = texts.validation.select(texts.validation.labels != found.target)
        rows = np.arange(min(self.sentences, len(others)))
        others = others.select(np.sort(np.random.default_rng(0).permutation(len(others))[rows]))
        framed = [frame(text) for frame in found.frames for text in others.texts]
        return replace(
            others,
            texts=tuple(framed),
            labels=np.tile(others.labels, len(found.frames)),
            source=f"{others.source} in inverted triggers",
        )
