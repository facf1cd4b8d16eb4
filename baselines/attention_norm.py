"""PURE's penalty: the attention of the heads that remain is spread out while fine-tuning."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from prune_env.importance.attention import attention_maps, returned_maps, summary_row
from prune_env.models.heads import find_heads
from prune_env.models.inputs import real_tokens
from prune_env.models.masks import Mask
from prune_env.training.fine_tuning import Penalty

STRENGTH = 0.15


@contextmanager
def attention_norm(model: PreTrainedModel, mask: Mask | None = None) -> Iterator[Penalty]:
    """Yield PURE's penalty: 0.15 * sum over layers of w * mean over sentences of the row norm.

    The row norm of a sentence is the L2 norm of the [CLS] rows of all kept heads of a layer
    together; it is smallest where attention is spread evenly. In a causal model the rows are those
    of the last real token, as in `cls_variance`. The layer weights w rise linearly with depth and
    sum to 1, since later layers carry the backdoor in PURE's analysis.

    Source: Zhao et al. (ICML 2024), attention normalization.
    """
    with _penalty(model, mask, lambda squares: _root(squares).mean()) as penalty:
        yield penalty


@contextmanager
def attention_norm_released(model: PreTrainedModel, mask: Mask | None = None) -> Iterator[Penalty]:
    """Yield the penalty of the published code: the root is taken after summing over the batch.

    It grows with the square root of the batch size.
    """
    with _penalty(model, mask, lambda squares: _root(squares.sum())) as penalty:
        yield penalty


@contextmanager
def _penalty(
    model: PreTrainedModel,
    mask: Mask | None,
    norm: Callable[[torch.Tensor], torch.Tensor],
) -> Iterator[Penalty]:
    layers = [layer for layer in find_heads(model).layers for _ in range(layer.calls)]
    weights = [(2 * depth + 2) / (len(layers) * (len(layers) + 1)) for depth in range(len(layers))]

    def penalty(
        model: PreTrainedModel, inputs: dict[str, torch.Tensor], outputs: Any
    ) -> torch.Tensor:
        norms = []
        for layer, attention in zip(layers, returned_maps(outputs), strict=True):
            real = real_tokens(inputs, attention.shape[-1])
            rows = summary_row(attention, real).float()
            if mask is not None:
                rows = rows[:, torch.as_tensor(mask[layer.index, : layer.num_heads])]
            norms.append(norm(rows.square().sum((1, 2))))
        weighted = torch.stack(norms) * torch.tensor(weights, device=norms[0].device)
        return STRENGTH * weighted.sum()

    with attention_maps(model):
        yield penalty


def _root(squares: torch.Tensor) -> torch.Tensor:
    """Return the square root, with a gradient of 0 at 0: dropout may empty every row."""
    return squares.clamp(min=torch.finfo(squares.dtype).tiny).sqrt()
