"""Cutting pruned heads out of a model, so that it becomes smaller and faster."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from prune_env.models.architectures import HEAD_COUNTS, POSITION_MAPS, SHARED_BIASES
from prune_env.models.heads import HeadMap, LayerHeads, find_heads
from prune_env.models.masks import Mask, validate_mask


class KeptBias:
    """Hands one attention module the biases of the heads that it kept, and the next layer all.

    T5's first layer makes the biases of every head from one table, and passes them on from layer
    to layer; MPNet's encoder makes them and gives them to each layer. The table stays whole, since
    other layers may have kept other heads.

    Args:
        heads: Heads of the whole layer that stayed, ascending.
    """

    def __init__(self, heads: Sequence[int]) -> None:
        self._heads = list(heads)
        self._whole: torch.Tensor | None = None

    def attach(self, attention: nn.Module) -> None:
        """Stay on an attention module for as long as it lives."""
        attention.register_forward_pre_hook(self._before, with_kwargs=True)
        # What was cut last is put back first, should a model be cut twice.
        attention.register_forward_hook(self._after, prepend=True)

    def _before(
        self, attention: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        # MPNet gives (hidden states, attention mask, biases) by position, T5 by name.
        whole = args[2] if len(args) > 2 else kwargs.get("position_bias")
        if whole is None:
            length, device = args[0].shape[1], args[0].device
            whole = attention.compute_bias(length, length, device=device)
        self._whole = whole
        kept = whole[:, self._heads]
        if len(args) > 2:
            return (*args[:2], kept, *args[3:]), kwargs
        return args, {**kwargs, "position_bias": kept}

    def _after(self, attention: nn.Module, args: Any, output: tuple[Any, ...]) -> tuple[Any, ...]:
        whole, self._whole = self._whole, None
        # T5 returns (context, biases, maps).
        return (output[0], whole, *output[2:]) if len(output) == 3 else output


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
