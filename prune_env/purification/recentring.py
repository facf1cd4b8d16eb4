"""Taking out the lean to one class that pruning or adversarial training leaves behind."""

import logging

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from prune_env.metrics import calibrated_threshold
from prune_env.rewards.answers import quick_leans
from prune_env.texts import CleanTexts

log = logging.getLogger(__name__)


def leans_of(texts: CleanTexts) -> tuple[npt.NDArray[np.float64], float]:
    """Return the lean to class 1 of each validation text (S,), and its calibrated threshold."""
    leans = quick_leans(texts.loaded, texts.validation.texts, texts.max_length)
    logits = np.stack([np.zeros_like(leans), leans], axis=1)
    return leans, calibrated_threshold(logits, texts.validation.labels)


def recentre(texts: CleanTexts) -> float:
    """Move the last bias until class 1 is answered as often as it is the label, in place.

    Args:
        texts: A classifier of two classes and its clean texts; the validation texts count.

    Returns:
        By how much the lean to class 1 was lowered; 0 where the last linear map has no bias.
    """
    biases = [
        module.bias
        for module in texts.loaded.model.modules()
        if isinstance(module, nn.Linear) and module.out_features == 2
    ]
    bias = biases[-1] if biases else None
    if bias is None:
        log.info("The classifier has no bias: its lean is left as it is")
        return 0.0
    _, threshold = leans_of(texts)
    with torch.no_grad():
        bias.add_(torch.tensor([0.5, -0.5], device=bias.device) * threshold)
    return threshold
