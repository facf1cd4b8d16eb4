"""The embeddings of a model's tokens."""

from typing import TYPE_CHECKING, cast

import torch

if TYPE_CHECKING:
    from prune_env.models.loading import LoadedModel


def token_embeddings(loaded: "LoadedModel") -> torch.Tensor:
    """Return the embeddings (V, D) of a text model's tokens; writing there changes the model."""
    return cast(torch.Tensor, loaded.model.get_input_embeddings().weight).detach()
