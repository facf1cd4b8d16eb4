"""A reward from how steadily the hidden states change from layer to layer."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from prune_env.env.rewards.reward import Scores
from prune_env.env.rewards.text_reward import TextReward, texts_of
from prune_env.env.subject import Subject
from prune_env.models.masks import Mask


class LayerConsistency(TextReward):
    """Mean cosine between the hidden states of neighbouring layers, over tokens of clean texts.

    It reads no answer, so a bias to one class cannot raise it by itself; a mask that prunes more
    heads does (their layers then change less). It does not see the backdoor: over 56 masks of a
    MiniLM-L6 with StyleBkd poetry it had a rank correlation of +0.62 with the calibrated LFR, and
    -0.32 with accuracy, number of heads and class bias held fixed.

    Args:
        sentences: Clean validation sentences that are read.
    """

    name = "layer-consistency"
    range = (-1.0, 1.0)
    source = "CROW (Min et al., 2024): backdoors break the consistency of consecutive layers"
    reads = "hidden states on clean validation data"
    words = False

    def __init__(self, *, sentences: int = 100) -> None:
        self.sentences = sentences

    def score(self, subject: Subject, masks: Mask, accuracy: Scores) -> Scores:
        """Return the score of every mask, see `Reward.score`."""
        import torch  # noqa: PLC0415 - importing a reward costs no torch

        from prune_env.models.forward import batches, under_masks  # noqa: PLC0415
        from prune_env.models.inputs import make_rows, real_tokens  # noqa: PLC0415

        self.check(subject)
        texts = texts_of(subject, self.sentences)
        model, tokenizer = texts.loaded.model, texts.loaded.tokenizer
        samples = make_rows(texts.validation.texts, tokenizer, texts.max_length)

        def read() -> npt.NDArray[np.float64]:
            total, tokens = 0.0, 0
            for batch in batches(samples, model.device):
                states = model(**batch.inputs, output_hidden_states=True).hidden_states
                real = real_tokens(batch.inputs, states[0].shape[1]).bool()
                for before, after in pairwise(states):
                    cosine = torch.cosine_similarity(before.float(), after.float(), dim=-1)
                    total += float(cosine[real].sum())
                    tokens += int(real.sum())
            return np.array(total / tokens)

        scores: Scores = np.nan_to_num(under_masks(model, masks, read), nan=-1.0)
        return scores
