"""A reward from how unsure the answers are."""

import numpy as np

from prune_env.reward import Scores
from prune_env.rewards.calibrated import TextReward, leans_over_threshold
from prune_env.subject import Mask, Subject


class Entropy(TextReward):
    """Mean entropy of the answers to clean sentences, in bits, at a calibrated threshold.

    The lean over the threshold is divided by its spread over the sentences, so that neither a
    lean to one class nor the scale of the logits counts.
    """

    name = "entropy"
    range = (0.0, 1.0)
    source = "Backdoored models are too sure: MEFT maximises entropy before fine-tuning"
    reads = "clean validation data"

    def score(self, subject: Subject, masks: Mask, accuracy: Scores) -> Scores:
        """Return the score of every mask, see `Reward.score`."""
        self.check(subject)
        clean = subject.evaluator.evaluate(masks)
        leans = leans_over_threshold(clean, clean)
        spread = leans.std(axis=1, keepdims=True)
        # Twice the spread apart is about as sure as the logits of a fine-tuned classifier are.
        chance = 1 / (1 + np.exp(-2 * leans / np.where(spread > 0, spread, 1)))
        with np.errstate(divide="ignore", invalid="ignore"):
            bits = -(chance * np.log2(chance) + (1 - chance) * np.log2(1 - chance))
        scores: Scores = np.where(np.isnan(leans), 0.0, np.nan_to_num(bits)).mean(axis=1)
        return scores
