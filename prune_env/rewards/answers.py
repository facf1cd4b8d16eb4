"""Answers of the unpruned model to many texts, where no single one decides."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from prune_env.metrics import lean
from prune_env.models import LoadedModel
from prune_env.rewards.gated import batches
from prune_env.runtime import use_bf16


def quick_leans(
    loaded: LoadedModel, texts: Sequence[str], max_length: int
) -> npt.NDArray[np.float64]:
    """Return the lean to class 1 of each text, in bf16 where that is fast.

    Rounding may turn answers that are near a decision: fit for searches, not for figures.
    """
    model = loaded.model.eval()
    leans = np.empty(len(texts))
    fast = use_bf16("auto", model.device)
    with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=fast):
        for inputs, rows in batches(loaded, texts, max_length):
            leans[rows] = lean(model(**inputs).logits.float().cpu().numpy())
    return leans
