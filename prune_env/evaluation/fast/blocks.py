"""Encoder blocks whose structure is known well enough to run them on packed tokens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from prune_env.evaluation.fast.attention import first_token_attention
from prune_env.evaluation.fast.plan import Chunk
from prune_env.models.heads import HeadMap, LayerHeads, linear_weight
from prune_env.models.masks import Mask
from prune_env.models.unit_map import Weights

Attend = Callable[[torch.Tensor, Chunk, torch.Tensor], None]

# What oneDNN computes while the product is still in registers, by activation: name and variant.
_FUSED_ACTIVATIONS = {"GELU": ("gelu", "none"), "GELUActivation": ("gelu", "none")}


class LinearMap:
    """`x W^T + b` with W in the given precision.

    On a CPU the weight is laid out once as oneDNN wants it, and the activation is computed in the
    same pass; everywhere else it is torch's own linear. oneDNN serves float32 too: the library that
    torch takes for it may be tuned for processors of its own maker only.

    Args:
        weight: (out, in).
        bias: (out,) or None.
        dtype: Precision of weight, input and output.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype) -> None:
        self._bias = None if bias is None else bias.to(dtype)
        self._weight = weight.to(dtype)
        known = weight.device.type == "cpu" and dtype in (torch.bfloat16, torch.float32)
        self._fused = _FUSED_OPS if known else None
        if self._fused is not None:
            self._weight = self._fused._reorder_linear_weight(self._weight.contiguous(), _ROWS)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return (..., out) of (..., in)."""
        if self._fused is None:
            return F.linear(x, self._weight, self._bias)
        output: torch.Tensor = self._fused._linear_pointwise(
            x, self._weight, self._bias, "none", [], ""
        )
        return output

    def activated(
        self, x: torch.Tensor, activation: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Return the activation of the map."""
        known = _FUSED_ACTIVATIONS.get(type(activation).__name__)
        if self._fused is None or known is None:
            return activation(self(x))
        name, variant = known
        output: torch.Tensor = self._fused._linear_pointwise(
            x, self._weight, self._bias, name, [], variant
        )
        return output


_ROWS = 1024  # a hint to oneDNN: about how many rows a product will have


def _fused_ops() -> Any:
    """Return torch's oneDNN operators, or None where this build has none."""
    if not torch.backends.mkldnn.is_available():
        return None
    ops = torch.ops.mkldnn
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return ops if all(hasattr(ops, name) for name in names) else None


_FUSED_OPS = _fused_ops()


def layer_norm(x: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """Normalise rows in the precision of `x`."""
    return F.layer_norm(
        x, norm.normalized_shape, norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps
    )


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


_PROJECTIONS = ("query", "key", "value")


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
        refitted: Weight and bias that linear maps have in place of their own.
        neurons: Int64 (n,), the feed-forward neurons that are open; None for all.

    Attributes:
        qkv: From the bytes of a bool (H,), the h heads that are asked for, to their map from
            x (T, D) to queries (scaled), keys and values (T, 3 * h * d); None for no head.
        output: From the bytes of the bool (H,) `held`, the h heads whose contexts are given side by
            side, and of `kept`, those that count, to the map from contexts (T, h * d) to what
            attention adds to x, bias included; None if no context is given.
    """

    def __init__(
        self,
        heads: LayerHeads,
        parts: Parts,
        dtype: torch.dtype,
        refitted: Mapping[nn.Module, Weights] = MappingProxyType({}),
        neurons: torch.Tensor | None = None,
    ) -> None:
        self.heads = heads
        self.dtype = dtype
        self._parts = parts
        self._refitted = refitted
        (up, up_bias), (down, down_bias) = map(self._weights, (parts.up, parts.down))
        if neurons is not None:
            up, down = up[neurons], down[:, neurons]
            up_bias = None if up_bias is None else up_bias[neurons]
        self._inner = len(up)
        self._down_bias = None if down_bias is None else down_bias.to(dtype)
        if self._inner:
            self._up = LinearMap(up, up_bias, dtype)
            self._down = LinearMap(down, down_bias, dtype)
        self._projections = [
            (weight.to(dtype), bias.to(dtype)) for weight, bias in map(self.per_head, _PROJECTIONS)
        ]
        self._query = query_weight, query_bias = self._projections[0]
        scale = heads.head_dim**-0.5
        self._projections[0] = query_weight * scale, query_bias * scale
        output_weight, self._output_bias = self._weights(heads.projection)
        shape = (len(output_weight), heads.num_heads, heads.head_dim)
        self._output_weight = output_weight.reshape(shape).to(dtype)
        # The same heads often come up for the next mask.
        self.qkv = lru_cache(maxsize=2)(self._qkv_map)
        self.output = lru_cache(maxsize=2)(self._output_map)

    def after_attention(
        self, output: LinearMap | None, contexts: torch.Tensor, x: torch.Tensor
    ) -> torch.Tensor:
        """Return what leaves the block (T, D).

        Args:
            output: What `output` returned for the heads of the contexts.
            contexts: (T, h * d), outputs of the heads.
            x: (T, D), what entered the block.
        """
        if output is not None:
            a = output(contexts).add_(x)
        else:
            bias = self._output_bias
            a = x if bias is None else x + bias.to(x.dtype)
        a = layer_norm(a, self._parts.norm1)
        if not self._inner:  # every neuron is closed
            a = a if self._down_bias is None else a + self._down_bias
            return layer_norm(a, self._parts.norm2)
        up = self._up.activated(a, self._parts.activation)
        return layer_norm(self._down(up).add_(a), self._parts.norm2)

    def per_head(self, part: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight (H, d, D) and bias (H, 1, d) of "query", "key" or "value"."""
        weight, bias = self._weights(getattr(self.heads, part).module)
        weight = weight.unflatten(0, (self.heads.num_heads, -1))
        bias = weight.new_zeros(weight.shape[:2]) if bias is None else bias.view(weight.shape[:2])
        return weight, bias.unsqueeze(1)

    @cached_property
    def attend_first(self) -> Attend:
        """Writes the contexts of every head for the first token of each sentence of a chunk."""
        _, key, value = self._projections
        return partial(first_token_attention, query=self._query, key=key[0], value=value)

    def flops_after(self, held: Mask) -> int:
        """Return the floating-point operations of `after_attention` for one token."""
        width = self._parts.down.out_features
        inner = int(held.sum()) * self.heads.head_dim + 2 * self._inner
        return 2 * width * inner

    def _qkv_map(self, wanted: bytes) -> LinearMap | None:
        index = _indices(wanted, self.heads)
        if not len(index):
            return None
        weights = [weight.index_select(0, index).flatten(0, 1) for weight, _ in self._projections]
        biases = [bias[index].flatten() for _, bias in self._projections]
        return LinearMap(torch.cat(weights), torch.cat(biases), self.dtype)

    def _output_map(self, held: bytes, kept: bytes) -> LinearMap | None:
        index = _indices(held, self.heads)
        if not len(index):
            return None
        picked = self._output_weight.index_select(1, index)
        gone = np.flatnonzero(~np.frombuffer(kept, np.bool_)[np.frombuffer(held, np.bool_)])
        picked[:, torch.from_numpy(gone).to(picked.device)] = 0
        return LinearMap(picked.flatten(1), self._output_bias, self.dtype)

    def _weights(self, module: nn.Module) -> Weights:
        """Return weight (out, in) and bias (out,) of a linear map, as refitted if it is."""
        if module in self._refitted:
            return self._refitted[module]
        bias: Any = module.bias
        return linear_weight(module), bias


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
