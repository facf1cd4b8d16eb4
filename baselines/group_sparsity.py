"""Sparsity penalties: whole heads as groups, and the published code's single weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from prune_env.errors import UnsupportedModelError
from prune_env.models.heads import HeadMap, find_heads
from prune_env.models.masks import Mask
from prune_env.training.fine_tuning import Penalty

STRENGTH = 1e-4
"""Factor of the published code; kept for the group penalty, whose pull on a weight is alike."""


@contextmanager
def group_sparsity(model: PreTrainedModel, mask: Mask | None = None) -> Iterator[Penalty]:
    """Yield `STRENGTH * head_norms`: structured L1/L2, which drives whole heads towards zero.

    Source: the paper's structured L1/L2 sparsification, read as the group lasso of Yuan and Lin
    (2006) with one group per head.
    """
    heads = find_heads(model)
    yield lambda model, inputs, outputs: STRENGTH * head_norms(heads)


def head_norms(heads: HeadMap) -> torch.Tensor:
    """Return the sum over heads of sqrt(weights) * L2 norm of value rows and output columns.

    These weights alone decide what a head adds to the residual stream: at zero it is pruned.
    The root of the group's size makes groups of different models comparable.
    """
    total = torch.zeros((), device=heads.layers[0].output_weight().device)
    for layer in heads.layers:
        owners = [layer.kv_head(head) for head in range(layer.num_heads)]
        values = layer.value.weight().unflatten(0, (layer.kv_heads, -1))[owners]
        outputs = layer.output_weight().transpose(0, 1)
        groups = torch.cat([values.flatten(1), outputs.flatten(1)], dim=1)
        total = total + groups.shape[1] ** 0.5 * torch.linalg.vector_norm(groups, dim=1).sum()
    return total


@contextmanager
def sparsity_released(model: PreTrainedModel, mask: Mask | None = None) -> Iterator[Penalty]:
    """Yield `STRENGTH * (L1 + Frobenius)` over every tensor named "attention" and "weight".

    Source: the published code. It is unstructured: single weights shrink, no head does as a whole.

    Raises:
        UnsupportedModelError: The model has no tensor of such a name.
    """
    weights = [
        parameter
        for name, parameter in model.named_parameters()
        if "attention" in name and "weight" in name
    ]
    if not weights:
        raise UnsupportedModelError(
            f"The released sparsity penalty finds nothing in {type(model).__name__}",
            expected="parameters named 'attention' and 'weight'",
            remedy="use variant 'paper'",
        )

    def penalty(
        model: PreTrainedModel, inputs: dict[str, torch.Tensor], outputs: Any
    ) -> torch.Tensor:
        norms = [weight.abs().sum() + torch.linalg.vector_norm(weight) for weight in weights]
        return STRENGTH * torch.stack(norms).sum()

    yield penalty
