"""Taking out the preference for some classes that adversarial training leaves behind."""

import logging

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from prune_env.models import LoadedModel
from prune_env.models.forward import class_count
from prune_env.purification.judge import Judge

log = logging.getLogger(__name__)


def recentre(loaded: LoadedModel, judge: Judge) -> npt.NDArray[np.float32]:
    """Move the last bias until each class is answered as often as it is the label, in place.

    On few rows only if they show that some are not, see `Judge.shifts`.

    Args:
        loaded: A classifier.
        judge: Its answers to clean validation data.

    Returns:
        Its logits (N, C) on that data as they are then.
    """
    logits = judge.logits()
    classes = class_count(loaded.model)
    biases = [
        module.bias
        for module in loaded.model.modules()
        if isinstance(module, nn.Linear) and module.out_features == classes
    ]
    bias = biases[-1] if biases else None
    if bias is None:
        log.info("The classifier has no bias: its preference for some classes is left as it is")
        return logits
    shifts = judge.shifts(logits)
    with torch.no_grad():
        bias.sub_(torch.from_numpy(shifts).to(bias))
    return (logits - shifts).astype(np.float32)
