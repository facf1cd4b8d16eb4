"""MEFT's first stage: the model forgets what it predicts before it learns the clean task."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from prune_env.models.masks import Mask
from prune_env.training.fine_tuning import Penalty


@contextmanager
def max_entropy(model: PreTrainedModel, mask: Mask | None = None) -> Iterator[Penalty]:
    """Yield the mean negative entropy of the prediction less the cross-entropy.

    Added to the cross-entropy it leaves the negative entropy alone, so labels play no part. It is
    finite at p = 0, where the published loss is NaN.

    Source: Liu et al., "Maximum Entropy Loss, the Silver Bullet Targeting Backdoor Attacks in
    Pre-trained Language Models" (Findings of ACL 2023).
    """

    def penalty(
        model: PreTrainedModel, inputs: dict[str, torch.Tensor], outputs: Any
    ) -> torch.Tensor:
        log_p: torch.Tensor = torch.log_softmax(outputs.logits.float(), dim=-1)
        loss: torch.Tensor = (log_p.exp() * log_p).sum(-1).mean() - outputs.loss
        return loss

    yield penalty
