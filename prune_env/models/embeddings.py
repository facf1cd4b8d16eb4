"""The embeddings of a model's tokens."""

from typing import cast

import torch
from transformers import PreTrainedModel


def token_embeddings(model: PreTrainedModel) -> torch.Tensor:
    """Return the embeddings (V, D) of a text model's tokens; writing there changes the model."""
    return cast(torch.Tensor, model.get_input_embeddings().weight).detach()
