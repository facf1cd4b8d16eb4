"""Answers of a whole classifier to any texts, as fast as they come: for searches, not for figures.

Searches and healing ask a model of which nothing is pruned, whose weights change, about texts that
change. What the fast evaluator is made of serves them as well: tokens are packed without padding,
and the last layer maps only the token that is read, in bfloat16 where that is fast.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import PreTrainedModel

from prune_env.evaluation.fast.backend import ENGINE_ERRORS, agrees, is_useful
from prune_env.evaluation.fast.packed import PackedEngine
from prune_env.evaluation.fast.packed_model import PackedModel
from prune_env.models import find_heads
from prune_env.models.forward import BATCH, Floats, answer, class_count, inference, parts
from prune_env.models.inputs import Rows, TokenRows
from prune_env.utils.memory import in_parts, trim
from prune_env.utils.progress import progress
from prune_env.utils.runtime import use_bf16

PROOF = 16
"""Samples on which a packed pass must answer as the model itself does."""


class QuickAnswers:
    """Answers of a classifier as its weights are at the time.

    In bfloat16 where that is fast, whose rounding may turn answers near a decision. A model that
    cannot be packed is asked as it is, and so is one with hooks: gates may hang on it.

    Args:
        model: A classifier of texts or images. Its weights may change, its structure may not.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._packs: bool | None = None

    def __call__(self, samples: Rows, *, size: int = BATCH) -> Floats:
        """Return the logits of each sample, float32 (S, C), in their order.

        Args:
            samples: The samples, tokenised.
            size: Samples of a batch, where the model is asked as it is.
        """
        logits = self._asked(samples, size)
        trim()  # else what a pass leaves comes on top of what the next one, or a training, takes
        return logits

    def _asked(self, samples: Rows, size: int) -> Floats:
        model = self._model
        if isinstance(samples, TokenRows) and not _has_hooks(model):
            if self._packs is None:
                self._packs = _packs(model, samples)
            if self._packs:
                return _packed_answers(model, samples)
        return answer(model, samples, size=size, precision="auto")


def _packed_answers(model: PreTrainedModel, samples: TokenRows) -> Floats:
    """Return the logits (S, C) of packed samples; the weights are packed anew, and soon."""
    heads = find_heads(model)
    packed = PackedModel(model, heads, _dtype(model))
    found = np.empty((len(samples), class_count(model)), np.float32)

    def run(rows: npt.NDArray[np.int64]) -> Floats:
        logits: Floats = PackedEngine(packed, samples, rows, 0).run(heads.available[None])[0]
        return logits

    with progress("Asking the model", len(samples)) as advance:
        # Of each part all that enters a layer is held, and its embeddings are padded.
        for done, rows in parts(samples, len(samples), model.device):
            found[rows] = in_parts(run, rows)
            advance(done)
    return found


def _packs(model: PreTrainedModel, samples: TokenRows) -> bool:
    """Whether packed samples get the model's own answers: of each length some are tried.

    On processors alone: elsewhere it was not measured whether this is faster.
    """
    heads = find_heads(model)
    if model.device.type != "cpu" or not PackedModel.fits(model, heads):
        return False
    places = np.linspace(0, len(samples) - 1, min(PROOF, len(samples))).astype(np.int64)
    rows = np.argsort(samples.lengths, kind="stable")[places]
    with inference(model):
        truth = model(**samples.batch(rows, model.device)).logits.float().numpy()
    found = []
    for dtype in (torch.float32, _dtype(model)):
        try:
            engine = PackedEngine(PackedModel(model, heads, dtype), samples, rows, 0)
            found.append(engine.run(heads.available[None])[0])
        except ENGINE_ERRORS:
            return False
    exact, quick = found
    return agrees(exact, truth) and is_useful(quick, truth)


def _dtype(model: PreTrainedModel) -> torch.dtype:
    """Return the precision of a quick pass."""
    return torch.bfloat16 if use_bf16("auto", model.device) else torch.float32


def _has_hooks(model: nn.Module) -> bool:
    """Whether something hangs on a module that a packed pass would not call.

    What transformers leaves on a model whose hidden states were once asked for only looks on; it
    must not decide, or answers would hang on what was asked before.
    """
    # `_forward_hooks` is private, but torch names no other way to ask.
    return any(
        not str(getattr(hook, "__module__", "")).startswith("transformers.")
        for each in model.modules()
        for hook in (*each._forward_hooks.values(), *each._forward_pre_hooks.values())
    )
