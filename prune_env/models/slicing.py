"""Cutting pruned heads out of a model, so that it becomes smaller and faster."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from prune_env.models.heads import HEAD_COUNTS, HeadMap, LayerHeads, find_heads
from prune_env.models.masks import Mask, validate_mask
from prune_env.models.position_bias import KeptBias
from prune_env.models.zeroing import zero_heads

SHARED_BIASES = frozenset({"mpnet", "t5"})
"""Their layers share one table of position biases with an entry per head."""

POSITION_MAPS = ("pos_key_proj", "pos_query_proj")
"""DeBERTa's maps of relative positions, with rows per head as the key has."""


@dataclass(frozen=True)
class LayerCut:
    """What stays in one attention module.

    Attributes:
        heads: Query heads that stay, ascending.
        kv_heads: Key-value heads that stay, ascending.
    """

    heads: tuple[int, ...]
    kv_heads: tuple[int, ...]


def plan_cuts(heads: HeadMap, mask: npt.ArrayLike) -> tuple[LayerCut, ...]:
    """Choose what stays so that every attention module still works.

    A pruned head stays, with weights of zero, where the shape of the attention needs it: one in a
    layer that lost all, and as many as make all remaining groups of a grouped-query attention
    equally large. Groups without a kept head go whole.

    Args:
        heads: Heads of the model.
        mask: Bool (L, H), True = kept.

    Raises:
        SettingsError: The mask does not fit the model.
    """
    kept = validate_mask(mask, heads.shape)
    return tuple(_plan_layer(layer, kept[layer.index]) for layer in heads.layers)


def slice_heads(model: nn.Module, mask: npt.ArrayLike) -> tuple[LayerCut, ...]:
    """Cut the pruned heads out, in place; the outputs equal those of closed gates.

    Args:
        model: A transformers model.
        mask: Bool (L, H), True = kept.

    Returns:
        What stays in each attention module; some of it may be zero (see `plan_cuts`).

    Raises:
        SettingsError: The mask does not fit the model.
    """
    cuts = plan_cuts(find_heads(model), mask)
    zero_heads(model, mask)
    apply_cuts(model, cuts)
    return cuts


def apply_cuts(model: nn.Module, cuts: Sequence[LayerCut]) -> None:
    """Keep only what `cuts` name, in place.

    Args:
        model: A transformers model with all its heads.
        cuts: One entry per attention module, of heads that exist.
    """
    model_type = getattr(getattr(model, "config", None), "model_type", None)
    for layer, cut in zip(find_heads(model).layers, cuts, strict=True):
        _cut_layer(layer, cut)
        if model_type in SHARED_BIASES:
            KeptBias(cut.heads).attach(layer.attention)


def _plan_layer(layer: LayerHeads, kept: Mask) -> LayerCut:
    size = layer.num_heads // layer.kv_heads
    groups = kept[: layer.num_heads].reshape(layer.kv_heads, size)
    staying = np.flatnonzero(groups.any(axis=1))
    if staying.size == 0:
        staying = np.array([0])
    count = max(1, int(groups[staying].sum(axis=1).max()))
    heads: list[int] = []
    for group in staying.tolist():
        # Kept heads first, then pruned ones (now zero) as far as the group must be filled up.
        order = np.argsort(~groups[group], kind="stable")[:count]
        heads += (group * size + np.sort(order)).tolist()
    return LayerCut(tuple(heads), tuple(staying.tolist()))


def _cut_layer(layer: LayerHeads, cut: LayerCut) -> None:
    queries = _rows(cut.heads, layer.head_dim)
    keys = _rows(cut.kv_heads, layer.head_dim)
    if layer.query.module is layer.key.module:
        parts = (layer.query, queries), (layer.key, keys), (layer.value, keys)
        _keep_outputs(layer.query.module, torch.cat([p.rows.start + rows for p, rows in parts]))
    else:
        _keep_outputs(layer.query.module, queries)
        _keep_outputs(layer.key.module, keys)
        _keep_outputs(layer.value.module, keys)
    for name in POSITION_MAPS:
        if hasattr(layer.attention, name):
            _keep_outputs(getattr(layer.attention, name), keys)
    _keep_inputs(layer.projection, queries)
    _update_counts(layer.attention, cut, layer.head_dim)


def _update_counts(attention: nn.Module, cut: LayerCut, head_dim: int) -> None:
    """Correct the numbers that forward passes read."""
    heads, kv_heads = len(cut.heads), len(cut.kv_heads)
    counts = {
        **dict.fromkeys(HEAD_COUNTS, heads),
        "num_key_value_heads": kv_heads,
        "num_key_value_groups": heads // kv_heads,
        "all_head_size": heads * head_dim,
        "split_size": heads * head_dim,
    }
    for name, value in counts.items():
        if hasattr(attention, name):
            setattr(attention, name, value)


def _rows(heads: Sequence[int], head_dim: int) -> torch.Tensor:
    return (torch.tensor(heads)[:, None] * head_dim + torch.arange(head_dim)).flatten()


def _keep_outputs(module: nn.Module, rows: torch.Tensor) -> None:
    _keep(module, "weight", rows, dim=1 if isinstance(module, Conv1D) else 0)
    if module.bias is not None:
        _keep(module, "bias", rows, dim=0)
    setattr(module, "nf" if isinstance(module, Conv1D) else "out_features", len(rows))


def _keep_inputs(module: nn.Module, columns: torch.Tensor) -> None:
    _keep(module, "weight", columns, dim=0 if isinstance(module, Conv1D) else 1)
    setattr(module, "nx" if isinstance(module, Conv1D) else "in_features", len(columns))


def _keep(module: nn.Module, name: str, indices: torch.Tensor, dim: int) -> None:
    old: nn.Parameter = getattr(module, name)
    data = old.detach().index_select(dim, indices.to(old.device)).contiguous()
    setattr(module, name, nn.Parameter(data, requires_grad=old.requires_grad))
