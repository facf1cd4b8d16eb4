"""Forward passes under masks that read more than logits: hidden states, shifted embeddings."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from prune_env.evaluation.tokens import row_limit
from prune_env.models import HeadGates
from prune_env.runtime import use_bf16
from prune_env.subject import Mask

if TYPE_CHECKING:
    from prune_env.models import LoadedModel

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
