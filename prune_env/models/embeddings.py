"""The embeddings of a model's tokens: read, and shifted for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from transformers import PreTrainedModel


def token_embeddings(model: PreTrainedModel) -> torch.Tensor:
    """Return the embeddings (V, D) of a text model's tokens; writing there changes the model."""
    return cast(torch.Tensor, model.get_input_embeddings().weight).detach()


@contextmanager
def shifted_embeddings(model: PreTrainedModel, shift: torch.Tensor) -> Iterator[None]:
    """Add a vector (D,) to the embedding of every token but the first of a text.

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
