"""Setting pruned heads to zero: full shapes, outputs equal to closed gates."""

import numpy.typing as npt
import torch
from torch import nn

from prune_env.models.heads import LayerHeads, find_heads
from prune_env.models.masks import Mask, validate_mask


def zero_heads(model: nn.Module, mask: npt.ArrayLike) -> None:
    """Set the weights of pruned heads to zero, in place; the outputs equal those of closed gates.

    The head's columns of the output projection become zero, and so do the value rows and biases
    that no kept head reads.

    Args:
        model: A transformers model.
        mask: Bool (L, H), True = kept.

    Raises:
        SettingsError: The mask does not fit the model.
    """
    heads = find_heads(model)
    kept = validate_mask(mask, heads.shape)
    with torch.no_grad():
        for layer in heads.layers:
            _zero_layer(layer, kept[layer.index, : layer.num_heads])


def _zero_layer(layer: LayerHeads, kept: Mask) -> None:
    group = layer.num_heads // layer.kv_heads
    weight = layer.output_weight()
    for head in range(layer.num_heads):
        if not kept[head]:
            weight[:, head] = 0
    for kv_head in range(layer.kv_heads):
        if not kept[kv_head * group : (kv_head + 1) * group].any():
            rows = slice(kv_head * layer.head_dim, (kv_head + 1) * layer.head_dim)
            layer.value.weight()[rows] = 0
            bias = layer.value.bias()
            if bias is not None:
                bias[rows] = 0
