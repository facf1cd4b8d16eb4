"""Encoder blocks whose structure is known well enough to run them on packed tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from prune_env.evaluation.linear import LinearMap, layer_norm
from prune_env.models.heads import HeadMap, LayerHeads

HeadSet = npt.NDArray[np.bool_]
"""Bool (H,), the heads of one layer."""

# Inside a layer: norm after attention, feed-forward up, activation, down, norm after it.
_POST_NORM_PARTS = (
    (  # BERT, RoBERTa, XLM-RoBERTa, ELECTRA
        "attention.output.LayerNorm",
        "intermediate.dense",
        "intermediate.intermediate_act_fn",
        "output.dense",
        "output.LayerNorm",
    ),
    ("sa_layer_norm", "ffn.lin1", "ffn.activation", "ffn.lin2", "output_layer_norm"),  # DistilBERT
)


@dataclass(frozen=True, eq=False)
class Parts:
    """The modules of a block after its attention.

    With `a = norm1(x + output(contexts))` the block returns `norm2(a + down(activation(up(a))))`.
    """

    norm1: nn.LayerNorm
    up: nn.Linear
    activation: Callable[[torch.Tensor], torch.Tensor]
    down: nn.Linear
    norm2: nn.LayerNorm


class PackedBlock:
    """A post-norm encoder block in one precision, with only the heads that are asked for.

    Args:
        heads: The attention of the block.
        parts: The rest of it.
        dtype: Precision of the products.
    """

    def __init__(self, heads: LayerHeads, parts: Parts, dtype: torch.dtype) -> None:
        self.heads = heads
        self.dtype = dtype
        self._parts = parts
        self._up = LinearMap(parts.up.weight, parts.up.bias, dtype)
        self._down = LinearMap(parts.down.weight, parts.down.bias, dtype)
        # The same heads come up for every chunk of a mask, and often for the next mask.
        self._qkv = lru_cache(maxsize=2)(self._qkv_map)
        self._output = lru_cache(maxsize=2)(self._output_map)

    def qkv(self, x: torch.Tensor, heads: HeadSet) -> torch.Tensor:
        """Return queries (scaled), keys and values (T, 3 * h * d) of h heads from x (T, D)."""
        return self._qkv(heads.tobytes())(x)

    def after_attention(
        self, contexts: torch.Tensor, held: HeadSet, kept: HeadSet, x: torch.Tensor
    ) -> torch.Tensor:
        """Return what leaves the block.

        Args:
            contexts: (T, h * d), outputs of the heads `held`, side by side.
            held: Bool (H,), the heads whose contexts are given.
            kept: Bool (H,), those that count; the others are pruned.
            x: (T, D), what entered the block.
        """
        if held.any():
            a = self._output(held.tobytes(), kept.tobytes()).plus(contexts, x)
        else:
            bias: Any = self.heads.projection.bias
            a = x if bias is None else x + bias.to(x.dtype)
        a = layer_norm(a, self._parts.norm1)
        up = self._up.activated(a, self._parts.activation)
        return layer_norm(self._down.plus(up, a), self._parts.norm2)

    def per_head(self, part: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight (H, d, D) and bias (H, 1, d) of "query", "key" or "value"."""
        projection = getattr(self.heads, part)
        weight = projection.weight().unflatten(0, (self.heads.num_heads, -1))
        bias = projection.bias()
        bias = weight.new_zeros(weight.shape[:2]) if bias is None else bias.view(weight.shape[:2])
        return weight, bias.unsqueeze(1)

    def flops_before(self, heads: HeadSet) -> int:
        """Return the floating-point operations of `qkv` for one token."""
        layer = self.heads
        return 6 * int(heads.sum()) * layer.head_dim * layer.query.weight().shape[1]

    def flops_after(self, held: HeadSet) -> int:
        """Return the floating-point operations of `after_attention` for one token."""
        width = self._parts.down.out_features
        inner = int(held.sum()) * self.heads.head_dim + 2 * self._parts.up.out_features
        return 2 * width * inner

    def _qkv_map(self, heads: bytes) -> LinearMap:
        """Return one map to the scaled queries, the keys and the values of some heads."""
        index = _indices(heads, self.heads)
        weights, biases = [], []
        for part, scale in (("query", self.heads.head_dim**-0.5), ("key", 1.0), ("value", 1.0)):
            weight, bias = self.per_head(part)
            weights.append(weight[index].flatten(0, 1) * scale)
            biases.append(bias[index].flatten() * scale)
        return LinearMap(torch.cat(weights), torch.cat(biases), self.dtype)

    def _output_map(self, held: bytes, kept: bytes) -> LinearMap:
        """Return the map from contexts of the heads `held`, with 0 for those that are not kept."""
        weight = self.heads.output_weight()
        gate = torch.from_numpy(np.frombuffer(kept, np.bool_).copy()).to(weight.device)
        gated = weight * gate[: self.heads.num_heads, None]
        picked = gated[:, _indices(held, self.heads)].flatten(1)
        bias: Any = self.heads.projection.bias
        return LinearMap(picked, bias, self.dtype)


def find_parts(layers: tuple[nn.Module, ...]) -> tuple[Parts, ...] | None:
    """Return the parts of post-norm blocks after their attention, or None if they are not such."""
    for names in _POST_NORM_PARTS:
        try:
            found = [[layer.get_submodule(name) for name in names] for layer in layers]
        except AttributeError:
            continue
        return tuple(Parts(*modules) for modules in found)  # type: ignore[arg-type]
    return None


def is_plain_attention(heads: HeadMap) -> bool:
    """Whether every layer has separate linear query, key and value with one group per head."""
    return all(
        isinstance(projection.module, nn.Linear)
        for layer in heads.layers
        for projection in (layer.query, layer.key, layer.value)
    ) and all(layer.kv_heads == layer.num_heads for layer in heads.layers)


def _indices(heads: bytes, layer: LayerHeads) -> torch.Tensor:
    chosen = np.flatnonzero(np.frombuffer(heads, np.bool_)[: layer.num_heads])
    return torch.from_numpy(chosen).to(next(layer.projection.parameters()).device)
