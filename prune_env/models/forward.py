"""Forward passes under masks that read more than logits: hidden states, shifted embeddings."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from prune_env.evaluation.metrics import Logits
from prune_env.models import HeadGates, LoadedModel
from prune_env.models.inputs import make_rows, row_limit
from prune_env.models.masks import Mask
from prune_env.utils.memory import in_parts
from prune_env.utils.progress import progress
from prune_env.utils.runtime import use_bf16

if TYPE_CHECKING:
    from prune_env.models import LoadedModel


def classify(
    model: PreTrainedModel,
    tokenizer: Any,
    texts: list[str],
    *,
    batch_size: int = 64,
    max_length: int = 128,
) -> Logits:
    """Return the logits of each text (or path of an image), float32 (N, C), in their order.

    The model runs in fp32 on its own device, in batches of similar length.
    """
    width = int(model.config.num_labels or 0)
    return _batched(
        lambda batch: model(**batch).logits,
        width,
        tokenizer,
        texts,
        model.device,
        batch_size=batch_size,
        max_length=max_length,
    )


def cls_vectors(
    model: PreTrainedModel,
    tokenizer: Any,
    texts: list[str],
    *,
    batch_size: int = 64,
    max_length: int = 128,
) -> Logits:
    """Return the encoder's last vector of the first token ([CLS]) of each text, float32 (N, D)."""
    encoder = model.base_model
    return _batched(
        lambda batch: encoder(**batch).last_hidden_state[:, 0],
        int(model.config.hidden_size),
        tokenizer,
        texts,
        model.device,
        batch_size=batch_size,
        max_length=max_length,
    )


@torch.no_grad()
def _batched(
    answer: Callable[[dict[str, torch.Tensor]], torch.Tensor],
    width: int,
    tokenizer: Any,
    texts: list[str],
    device: torch.device,
    *,
    batch_size: int,
    max_length: int,
) -> Logits:
    inputs = make_rows(texts, tokenizer, max_length)
    order = np.argsort(inputs.lengths, kind="stable")
    out = np.empty((len(texts), width), np.float32)

    def logits(rows: npt.NDArray[np.int64]) -> Logits:
        return answer(inputs.batch(rows, device)).float().cpu().numpy()

    with progress("Measuring", len(texts)) as advance:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            out[rows] = in_parts(logits, rows)
            advance(start + len(rows))
    return out


BATCH = 64


def batches(
    loaded: "LoadedModel", texts: Sequence[str], max_length: int
) -> list[tuple[dict[str, Any], npt.NDArray[np.int64]]]:
    """Return the token batches of texts of similar length, and the rows of each."""
    longest = row_limit(max_length, loaded.tokenizer)
    tokens = loaded.tokenizer(list(texts), truncation=True, max_length=longest)["input_ids"]
    order = np.argsort([len(row) for row in tokens], kind="stable")
    made = []
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        padded = loaded.tokenizer.pad(
            {"input_ids": [tokens[row] for row in rows]}, return_tensors="pt"
        )
        made.append(({key: padded[key].to(loaded.model.device) for key in padded}, rows))
    return made


def under_masks(
    loaded: "LoadedModel",
    masks: Mask,
    read: Callable[[], npt.NDArray[np.float64]],
) -> npt.NDArray[np.float64]:
    """Return what `read` finds in the model under each mask (N, L, H), stacked."""
    model = loaded.model.eval()
    precision = use_bf16("auto", model.device)
    with (
        HeadGates(model) as gates,
        torch.inference_mode(),
        torch.autocast(model.device.type, torch.bfloat16, enabled=precision),
    ):
        found = []
        for mask in masks:
            gates.set(mask.copy())
            found.append(read())
    return np.stack(found)


@contextmanager
def shifted_embeddings(model: Any, shift: torch.Tensor) -> Iterator[None]:
    """Add a vector (D,) to the embedding of every token but the first and the last of a text.

    Padding is shifted too, which attention never sees.
    """

    def add(module: Any, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        ids = args[0]
        inside = torch.ones_like(ids, dtype=torch.bool)
        inside[:, 0] = False
        return output + inside[..., None] * shift.to(output.dtype)

    handle = model.get_input_embeddings().register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
