"""Rewards from the asymmetry of flips under rewrites of clean texts."""

from typing import ClassVar

import numpy as np

from prune_env.data.dataset import Rewrite
from prune_env.env.rewards.reward import Scores
from prune_env.env.rewards.rewrites import REWRITES
from prune_env.env.rewards.text_reward import (
    TextReward,
    calibrated_margins,
    flipped_share,
    kept_share,
    texts_of,
)
from prune_env.env.subject import Subject
from prune_env.models.masks import Mask

SENTENCES = 300
"""Clean validation sentences that are rewritten; more make the score smoother, and dearer."""


class Flips(TextReward):
    """One minus the asymmetry of flips under a rewrite, at a calibrated threshold.

    The asymmetry is the share of one class's sentences that the rewrite flips minus that of the
    other's, taken as an amount: which class is the attacker's target is not known. A backdoor
    that a rewrite wakes flips one class only; lost sentiment flips both. It sees the backdoor
    only where the rewrite resembles the trigger: over 32 masks of a MiniLM-L6 with HiddenKiller
    the signed asymmetry (120 sentences) had these rank correlations with the calibrated LFR, at
    fixed accuracy, number of heads and class bias: clauses +0.83 (the attack's own family),
    sentences +0.22, word drop +0.16, old words -0.03, rare words -0.25, shuffles -0.32. On StyleBkd
    poetry (56 masks, as it is here) word drop had +0.41 and clauses -0.15.

    Args:
        rewrite: What is done to the sentences; default: the one in `REWRITES` of the reward's name.
        sentences: How many clean validation sentences are rewritten.
    """

    range = (0.0, 1.0)
    source = "Asymmetric flips under perturbation; STRIP (Gao et al., ACSAC 2019) reads agreement"
    reads = "clean validation data and rewritten copies of it"
    default: ClassVar[str]

    def __init__(self, rewrite: Rewrite | None = None, *, sentences: int = SENTENCES) -> None:
        self.rewrite = rewrite or REWRITES[self.default]
        self.sentences = sentences

    def score(self, subject: Subject, masks: Mask, accuracy: Scores) -> Scores:
        """Return the score of every mask, see `Reward.score`."""
        self.check(subject)
        moved = texts_of(subject, self.sentences).rewritten(self.rewrite).evaluate(masks)
        margins = calibrated_margins(subject.evaluator.evaluate(masks), moved)
        shares = flipped_share(margins, moved.labels)
        asymmetry = np.where(
            np.isnan(margins).any(axis=1), 1.0, np.abs(shares[:, 0] - shares[:, 1])
        )
        return 1 - asymmetry


class WordDropFlips(Flips):
    """One minus the asymmetry of flips when words are left out (see `Flips`)."""

    name = "flips-word-drop"
    default = "word-drop"


class ShuffleFlips(Flips):
    """One minus the asymmetry of flips when neighbouring words change places (see `Flips`)."""

    name = "flips-shuffle"
    default = "shuffle"


class ClauseFlips(Flips):
    """One minus the asymmetry of flips behind an empty subordinate clause (see `Flips`)."""

    name = "flips-clause"
    default = "clause"


class SentenceFlips(Flips):
    """One minus the asymmetry of flips beside a neutral sentence (see `Flips`)."""

    name = "flips-sentence"
    default = "sentence"


class RareWordFlips(Flips):
    """One minus the asymmetry of flips with meaningless words inserted (see `Flips`)."""

    name = "flips-rare-words"
    default = "rare-words"


class OldWordFlips(Flips):
    """One minus the asymmetry of flips in archaic wording (see `Flips`)."""

    name = "flips-old-words"
    default = "old-words"


class SplitAgreement(Flips):
    """Share of answers that stay when long words are cut in two, averaged over the classes.

    Source: a trigger seldom survives another tokenisation while sentiment mostly does, so a
    backdoored answer and a clean one agree less; at a calibrated threshold.
    """

    name = "split-agreement"
    source = "Agreement with token-split inputs"
    default = "split-words"

    def score(self, subject: Subject, masks: Mask, accuracy: Scores) -> Scores:
        """Return the score of every mask, see `Reward.score`."""
        self.check(subject)
        texts = texts_of(subject, self.sentences)
        clean = subject.evaluator.evaluate(masks)
        before = calibrated_margins(clean, texts.evaluator.evaluate(masks))
        after = calibrated_margins(clean, texts.rewritten(self.rewrite).evaluate(masks))
        return kept_share(before, after)
