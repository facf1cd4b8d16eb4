"""The one pass of a model over samples: sorted by length, in batches, in a precision.

Callers hook in by what they read of a batch (logits, hidden states, gradients), and by what they
hang on the model before it (gates, shifted embeddings). `evaluation.fast` has passes of its own,
which enter a model in the middle; they share the rows and the mode of running.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import PreTrainedModel

from prune_env.models.architectures import CAUSAL
from prune_env.models.gates import HeadGates
from prune_env.models.heads import encoder_of
from prune_env.models.inputs import Rows, make_rows
from prune_env.models.masks import Mask
from prune_env.settings import Precision
from prune_env.utils.memory import in_parts
from prune_env.utils.progress import progress
from prune_env.utils.runtime import use_bf16

BATCH = 64

TOKENS = 8192
"""Of a batch at most, on a processor: what is larger is taken from the system and given back for
every layer, which at 512 tokens took a fifth of the time."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Batch:
    """Samples of similar length, on the model's device.

    Attributes:
        rows: Int64 (B,), their places in the data.
        inputs: Arguments of the model's forward: `input_ids`, `attention_mask`, ... (B, n), or
            `pixel_values`.
    """

    rows: npt.NDArray[np.int64]
    inputs: dict[str, torch.Tensor]


def batches(
    samples: Rows, device: torch.device, *, size: int = BATCH, description: str = "Asking the model"
) -> Iterator[Batch]:
    """Yield every sample once, in batches of similar length; the data alone decides the order.

    Args:
        samples: The samples, tokenised.
        device: Where the model is.
        size: Samples of a batch.
        description: Of the pass, for the progress bar.
    """
    with progress(description, len(samples)) as advance:
        for done, rows in parts(samples, size, device):
            yield Batch(rows, samples.batch(rows, device))
            advance(done)


def forward(
    model: PreTrainedModel,
    samples: Rows,
    read: Callable[[dict[str, torch.Tensor]], torch.Tensor],
    width: int,
    *,
    size: int = BATCH,
    precision: Precision = "fp32",
    description: str = "Asking the model",
) -> Floats:
    """Return what is read of each sample, float32 (S, width), in the order of the data.

    A batch that needs too much memory is run in halves.

    Args:
        model: The model, which runs on its own device, in evaluation mode, without gradients.
        samples: The samples, tokenised.
        read: Runs the model on the inputs of some samples (B) and returns (B, width); what it
            reads of one must not depend on the others.
        width: Numbers that are read of a sample.
        size: Samples of a batch.
        precision: See `in_precision`.
        description: Of the pass, for the progress bar.
    """
    found = np.empty((len(samples), width), np.float32)

    def answer(rows: npt.NDArray[np.int64]) -> Floats:
        return read(samples.batch(rows, model.device)).float().cpu().numpy()

    with (
        inference(model),
        in_precision(model, precision),
        progress(description, len(samples)) as advance,
    ):
        for done, rows in parts(samples, size, model.device):
            found[rows] = in_parts(answer, rows)
            advance(done)
    return found


def classify(
    model: PreTrainedModel,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    batch_size: int = BATCH,
    max_length: int = 128,
    precision: Precision = "fp32",
    description: str = "Asking the model",
) -> Floats:
    """Return the logits of each text (or path of an image), float32 (S, C), in their order."""
    rows = make_rows(texts, tokenizer, max_length)
    return answer(model, rows, size=batch_size, precision=precision, description=description)


def answer(
    model: PreTrainedModel,
    samples: Rows,
    *,
    size: int = BATCH,
    precision: Precision = "fp32",
    description: str = "Asking the model",
) -> Floats:
    """Return the logits of each sample, float32 (S, C), in their order; arguments as `forward`."""
    return forward(
        model,
        samples,
        lambda inputs: model(**inputs).logits,
        class_count(model),
        size=size,
        precision=precision,
        description=description,
    )


def cls_vectors(
    model: PreTrainedModel, tokenizer: Any, texts: Sequence[str], *, max_length: int = 128
) -> Floats:
    """Return the encoder's last vector of each text, float32 (S, D): that of its first token.

    That token ([CLS] where there is one) has read the text; of decoders, the last one has.
    """
    return vectors(model, make_rows(texts, tokenizer, max_length))


def vectors(model: PreTrainedModel, samples: Rows) -> Floats:
    """Return the vectors of `cls_vectors` of samples, float32 (S, D)."""
    width = int(encoder_of(model).config.hidden_size)
    return forward(model, samples, vector_reader(model), width)


def vector_reader(model: PreTrainedModel) -> Callable[[dict[str, torch.Tensor]], torch.Tensor]:
    """Return what reads the vectors (B, D) of `cls_vectors` of a batch, with gradients."""
    encoder: Any = encoder_of(model)
    if getattr(model.config, "is_encoder_decoder", False):
        encoder = encoder.encoder
    causal = getattr(model.config, "model_type", None) in CAUSAL

    def read(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        states: torch.Tensor = encoder(**inputs).last_hidden_state
        if not causal:
            return states[:, 0]
        # As transformers has it: an end token behind a text may be the padding token as well.
        said = inputs["input_ids"] != model.config.pad_token_id
        last = (said * torch.arange(said.shape[1], device=said.device)).argmax(dim=1)
        return states[torch.arange(len(states), device=states.device), last]

    return read


def under_masks(
    model: PreTrainedModel, masks: Mask, read: Callable[[], npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    """Return what `read` finds in the model under each mask (N, L, H), stacked."""
    found = []
    with inference(model), in_precision(model, "auto"), HeadGates(model) as gates:
        for mask in masks:
            gates.set(mask.copy())
            found.append(read())
    return np.stack(found)


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Run a model in evaluation mode without gradients; every module gets its own mode back."""
    # Most often nothing is to be switched, and that is soon seen; `eval` and `train` take long.
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True


def in_precision(model: nn.Module, precision: Precision) -> AbstractContextManager[object]:
    """Return the context in which a model runs in a precision.

    Args:
        model: On its device.
        precision: "fp32" leaves things as they are; "auto" is bf16 where that is fast, whose
            rounding may turn answers near a decision: fit for searches, not for figures.
    """
    device = next(model.parameters()).device
    if precision == "fp32" or not use_bf16(precision, device):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def class_count(model: PreTrainedModel) -> int:
    """Return the number of classes C of a classifier."""
    return int(model.config.num_labels or 0)


def parts(
    samples: Rows, size: int, device: torch.device
) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield the places of samples of similar length, so many at a time; little is padded.

    With each part comes how many samples are done after it. On a processor no part has more than
    `TOKENS`, padded.
    """
    order = np.argsort(samples.lengths, kind="stable")
    start = 0
    while start < len(order):
        rows = order[start : start + size]
        if device.type == "cpu":
            padded = samples.lengths[rows] * np.arange(1, len(rows) + 1)
            rows = rows[: max(1, int(np.searchsorted(padded, TOKENS, side="right")))]
        start += len(rows)
        yield start, rows
