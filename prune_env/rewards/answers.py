"""Answers of the unpruned model to many texts, where no single one decides."""

import numpy as np
import numpy.typing as npt
import torch

from prune_env.metrics import lean
from prune_env.models import LoadedModel
from prune_env.runtime import use_bf16
from prune_env.scores import classify


def quick_leans(loaded: LoadedModel, texts: list[str], max_length: int) -> npt.NDArray[np.float64]:
    """Return the lean to class 1 of each text, in bf16 where that is fast.

    Rounding may turn answers that are near a decision: fit for searches, not for figures.
    """
    device = loaded.model.device.type
    with torch.autocast(device, torch.bfloat16, enabled=use_bf16("auto", loaded.model.device)):
        return lean(classify(loaded.model, loaded.tokenizer, texts, max_length=max_length))
