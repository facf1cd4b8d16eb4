"""Encoder blocks whose structure is known well enough to run them on packed tokens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from prune_env.evaluation.fast.attention import first_token_attention, packed_attention
from prune_env.evaluation.fast.plan import Chunk
from prune_env.evaluation.fast.workspace import Scratch
from prune_env.models.heads import HeadMap, LayerHeads, linear_weight
from prune_env.models.masks import Mask
from prune_env.models.unit_map import Weights
from prune_env.utils.memory import remembering

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
        known = weight.device.type == "cpu" and dtype in _FUSED_DTYPES
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
    names = ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
    return ops if all(hasattr(ops, name) for name in names) else None


_FUSED_OPS = _fused_ops()
# Where a processor lacks the instructions, oneDNN refuses bf16, which torch emulates.
_FUSED_DTYPES = (
    (torch.float32, torch.bfloat16)
    if _FUSED_OPS is not None and _FUSED_OPS._is_mkldnn_bf16_supported()
    else (torch.float32,)
)


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
        scratch: Memory for attention.
        first_only: Whether only the first token of each sentence attends, with every head.
        refitted: Weight and bias that linear maps have in place of their own.
        neurons: Int64 (n,), the feed-forward neurons that are open; None for all.

    Attributes:
        attend: From the bytes of a bool (H,), the h heads that are asked for, to a function that
            writes their contexts for one chunk. It takes what enters the block (T, D), the chunk,
            and the matrix to write its part of.
        output: From the bytes of the bool (H,) `held`, the h heads whose contexts are given side by
            side, and of `kept`, those that count, to the map from contexts (T, h * d) to what
            attention adds to x, bias included; None if no context is given.
    """

    def __init__(
        self,
        heads: LayerHeads,
        parts: Parts,
        dtype: torch.dtype,
        *,
        scratch: Scratch,
        first_only: bool = False,
        refitted: Mapping[nn.Module, Weights] = MappingProxyType({}),
        neurons: torch.Tensor | None = None,
    ) -> None:
        self.heads = heads
        self.dtype = dtype
        self._parts = parts
        self._scratch = scratch
        self._first_only = first_only
        qkv = (heads.query.module, heads.key.module, heads.value.module)
        *projections, (output, output_bias), (up, up_bias), (down, down_bias) = [
            refitted[module] if module in refitted else (linear_weight(module), _bias(module))
            for module in (*qkv, heads.projection, parts.up, parts.down)
        ]
        if neurons is not None:
            up, down = up[neurons], down[:, neurons]
            up_bias = None if up_bias is None else up_bias[neurons]
        self._inner = len(up)
        self._down_bias = None if down_bias is None else down_bias.to(dtype)
        if self._inner:
            self._up = LinearMap(up, up_bias, dtype)
            self._down = LinearMap(down, down_bias, dtype)
        query, self._key, self._value = [
            _by_head(each, heads.num_heads, dtype) for each in projections
        ]
        # Attention of the first token scales by itself: its query is multiplied by the keys' map.
        scale = heads.head_dim**-0.5
        self._query = query if first_only else (query[0] * scale, query[1] * scale)
        self._output_bias = output_bias
        shape = (len(output), heads.num_heads, heads.head_dim)
        self._output_weight = output.reshape(shape).to(dtype)
        # The same heads often come up for the next mask.
        self.attend = remembering(self._attend, 2)
        self.output = remembering(self._output_map, 2)

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

    def flops_after(self, held: Mask) -> int:
        """Return the floating-point operations of `after_attention` for one token."""
        width = self._parts.down.out_features
        inner = int(held.sum()) * self.heads.head_dim + 2 * self._inner
        return 2 * width * inner

    def _attend(self, wanted: bytes) -> Attend:
        if self._first_only:
            return partial(
                first_token_attention, query=self._query, key=self._key[0], value=self._value
            )
        index = _indices(wanted, self.heads)
        if not len(index):
            return _nothing
        projections = (self._query, self._key, self._value)
        weights = [weight.index_select(0, index).flatten(0, 1) for weight, _ in projections]
        biases = [bias[index].flatten() for _, bias in projections]
        return partial(
            packed_attention,
            to_qkv=LinearMap(torch.cat(weights), torch.cat(biases), self.dtype),
            head_dim=self.heads.head_dim,
            scratch=self._scratch,
        )

    def _output_map(self, held: bytes, kept: bytes) -> LinearMap | None:
        index = _indices(held, self.heads)
        if not len(index):
            return None
        picked = self._output_weight.index_select(1, index)
        gone = np.flatnonzero(~np.frombuffer(kept, np.bool_)[np.frombuffer(held, np.bool_)])
        picked[:, torch.from_numpy(gone).to(picked.device)] = 0
        return LinearMap(picked.flatten(1), self._output_bias, self.dtype)


def _bias(module: nn.Module) -> torch.Tensor | None:
    """Return the bias (out,) of a linear map, if it has one."""
    return None if module.bias is None else module.get_parameter("bias")


def _by_head(weights: Weights, heads: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight (H, d, D) and bias (H, 1, d) of the map to queries, keys or values."""
    weight, bias = weights
    weight = weight.unflatten(0, (heads, -1))
    bias = weight.new_zeros(weight.shape[:2]) if bias is None else bias.view(weight.shape[:2])
    return weight.to(dtype), bias.unsqueeze(1).to(dtype)


def _nothing(x: torch.Tensor, chunk: Chunk, out: torch.Tensor) -> None:
    """Attend with no head."""


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
