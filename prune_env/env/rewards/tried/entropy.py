"""A reward from how unsure the answers to clean sentences are."""

import numpy as np

from prune_env.env.rewards.reward import Scores
from prune_env.env.rewards.text_reward import TextReward, calibrated_margins
from prune_env.env.subject import Subject
from prune_env.models.masks import Mask


class Entropy(TextReward):
    """Mean entropy of the answers to clean sentences, in bits, at a calibrated threshold.

    The margin over the threshold is divided by its spread over the sentences, so that neither a
    bias to one class nor the scale of the logits counts.
    """

    name = "entropy"
    range = (0.0, 1.0)
    source = "Backdoored models are too sure: MEFT maximises entropy before fine-tuning"
    reads = "clean validation data"
    words = False

    def score(self, subject: Subject, masks: Mask, accuracy: Scores) -> Scores:
        """Return the score of every mask, see `Reward.score`."""
        self.check(subject)
        clean = subject.evaluator.evaluate(masks)
        margins = calibrated_margins(clean, clean)
        spread = margins.std(axis=1, keepdims=True)
        # Twice the spread apart is about as sure as the logits of a fine-tuned classifier are.
        chance = 1 / (1 + np.exp(-2 * margins / np.where(spread > 0, spread, 1)))
        with np.errstate(divide="ignore", invalid="ignore"):
            bits = -(chance * np.log2(chance) + (1 - chance) * np.log2(1 - chance))
        scores: Scores = np.where(np.isnan(margins), 0.0, np.nan_to_num(bits)).mean(axis=1)
        return scores
