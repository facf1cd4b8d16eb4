"""Finding the attention heads of a transformer by the structure of its modules."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import cast

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from prune_env.errors import UnsupportedModelError
from prune_env.models.architectures import (
    FUSED,
    HEAD_COUNTS,
    HEAD_WIDTHS,
    OUTPUT,
    QUERY_KEY_VALUE,
    SHARED_LAYERS,
)
from prune_env.models.masks import Mask


@dataclass(frozen=True, eq=False)
class Projection:
    """The query, key or value part of an attention module's linear maps.

    Attributes:
        name: Name of the module in the model; a fused map is shared by its three parts.
        module: `nn.Linear`, or GPT-2's `Conv1D`, which keeps its weight transposed.
        rows: Output features of the module that belong to this part.
    """

    name: str
    module: nn.Module
    rows: slice

    def weight(self) -> torch.Tensor:
        """Return the weight, a view (rows, in_features)."""
        weight = self.module.get_parameter("weight")
        return weight.T[self.rows] if isinstance(self.module, Conv1D) else weight[self.rows]

    def bias(self) -> torch.Tensor | None:
        """Return the bias, a view (rows,), or None if the map has none."""
        bias = getattr(self.module, "bias", None)
        return None if bias is None else bias[self.rows]

    def grad(self) -> torch.Tensor | None:
        """Return the weight's gradient, a view (rows, in_features), or None before backward."""
        grad = self.module.get_parameter("weight").grad
        if grad is None:
            return None
        return grad.T[self.rows] if isinstance(self.module, Conv1D) else grad[self.rows]


@dataclass(frozen=True, eq=False)
class LayerHeads:
    """One attention module and its heads.

    Head h owns rows `h * head_dim : (h + 1) * head_dim` of the query, the same columns of the
    output projection, and those rows of key and value that belong to its group `kv_head(h)`.

    Attributes:
        index: Row in the mask.
        name: Name of the attention module in the model.
        num_heads: Query heads.
        head_dim: Width of one head.
        kv_heads: Key-value heads; fewer than `num_heads` where queries share them.
        attention: The module that computes the heads.
        projection: The linear map that mixes the heads' outputs.
        query: The part of the weights that makes queries.
        key: The part that makes keys.
        value: The part that makes values.
        calls: How often one forward pass runs this module (more than 1 where layers share it).
    """

    index: int
    name: str
    num_heads: int
    head_dim: int
    kv_heads: int
    attention: nn.Module
    projection: nn.Module
    query: Projection
    key: Projection
    value: Projection
    calls: int = 1

    @property
    def block(self) -> str:
        """Name of the transformer layer that holds the attention module."""
        parts = self.name.split(".")
        number = next(place for place, part in enumerate(parts) if part.isdigit())
        return ".".join(parts[: number + 1])

    def kv_head(self, head: int) -> int:
        """Return the key-value head that query head `head` reads."""
        return head // (self.num_heads // self.kv_heads)

    def output_weight(self) -> torch.Tensor:
        """Return the output projection's weight, a view (out_features, num_heads, head_dim)."""
        weight = linear_weight(self.projection)
        return weight.reshape(weight.shape[0], self.num_heads, self.head_dim)


@dataclass(frozen=True, eq=False)
class HeadMap:
    """All heads of a model, in forward order.

    Attributes:
        layers: One entry per attention module, which is one per layer unless layers share it.
        inner: Attention modules that run in turn where layers share them (ALBERT's
            `inner_group_num`).
    """

    layers: tuple[LayerHeads, ...]
    inner: int = 1

    @property
    def in_call_order(self) -> tuple[LayerHeads, ...]:
        """The layers as one forward pass runs them, shared ones as often as it does."""
        places = range(0, len(self.layers), self.inner)
        groups = (self.layers[place : place + self.inner] for place in places)
        return tuple(layer for group in groups for layer in group * group[0].calls)

    @property
    def shape(self) -> tuple[int, int]:
        """(L, H): attention modules, and the most heads that one of them has."""
        return len(self.layers), max(map(attrgetter("num_heads"), self.layers))

    @property
    def width(self) -> int:
        """Width of what all heads of the first attention module make of a token."""
        return self.shape[1] * self.layers[0].head_dim

    @cached_property
    def available(self) -> Mask:
        """Bool (L, H), True where a head exists."""
        counts = np.array([layer.num_heads for layer in self.layers])
        exists: Mask = np.arange(self.shape[1]) < counts[:, None]
        exists.flags.writeable = False
        return exists


def find_heads(model: nn.Module) -> HeadMap:
    """Find every self-attention head of an encoder or a causal decoder.

    Of an encoder-decoder, the heads of the encoder are found.

    Args:
        model: A transformers model, with or without a classification head.

    Raises:
        UnsupportedModelError: No attention module was recognised, or one was recognised whose
            shapes contradict its own head count.
    """
    config = getattr(model, "config", None)
    found = tuple(_attention_modules(model))
    expected = getattr(config, "num_hidden_layers", None)
    expected = getattr(getattr(config, "vision_config", None), "num_hidden_layers", expected)
    inner = getattr(config, "inner_group_num", 1)
    expected = expected and expected * inner
    if not found or (expected is not None and expected % len(found)):
        raise UnsupportedModelError(
            f"The attention heads of {type(model).__name__} cannot be found",
            expected=f"{expected or 'some'} attention modules with query, key, value and output",
            actual=len(found),
            remedy="use a supported architecture; `load_classifier` names them",
        )
    calls = 1 if expected is None else expected // len(found)
    if calls > 1 and getattr(config, "model_type", None) not in SHARED_LAYERS:
        raise UnsupportedModelError(
            f"{type(model).__name__} has attention in {len(found)} of {expected} layers only",
            remedy="use a supported architecture; `load_classifier` names them",
        )
    layers = (_layer(model, index, name, each, calls) for index, (name, each) in enumerate(found))
    return HeadMap(tuple(layers), inner)


def encoder_of(model: PreTrainedModel) -> PreTrainedModel:
    """Return what a classifier has below its classification head.

    Not `base_model`, which of CLIP is the classifier itself.
    """
    name = find_heads(model).layers[0].name.partition(".")[0]
    return cast(PreTrainedModel, model.get_submodule(name))


def _attention_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    decoder = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
    for name, module in model.named_modules():
        if decoder and "decoder" in name.split("."):
            continue
        children = dict(module.named_children())
        if any(all(part in children for part in triple) for triple in QUERY_KEY_VALUE) or any(
            part in children for part in FUSED
        ):
            yield name, module


def _layer(model: nn.Module, index: int, name: str, attention: nn.Module, calls: int) -> LayerHeads:
    children = dict(attention.named_children())
    heads = _first_int(attention, HEAD_COUNTS)
    head_dim = _first_int(attention, HEAD_WIDTHS)
    projection = _output(model, name, children)
    width = linear_features(projection)[0]
    if not head_dim or width % head_dim or heads not in (None, width // head_dim):
        raise _contradiction(name, f"{heads} heads of {head_dim} over {width} features")
    query, key, value = _query_key_value(name, children, width)
    kv_width = key.rows.stop - key.rows.start
    if (
        query.rows.stop - query.rows.start != width
        or value.rows.stop - value.rows.start != kv_width
        or kv_width % head_dim
        or width % kv_width
    ):
        raise _contradiction(name, f"query {query.rows}, key {key.rows}, value {value.rows}")
    return LayerHeads(
        index=index,
        name=name,
        num_heads=width // head_dim,
        head_dim=head_dim,
        kv_heads=kv_width // head_dim,
        attention=attention,
        projection=projection,
        query=query,
        key=key,
        value=value,
        calls=calls,
    )


def _output(model: nn.Module, name: str, children: dict[str, nn.Module]) -> nn.Module:
    """Return the output projection: a child, or BERT's `output.dense` beside the module."""
    for part in OUTPUT:
        if part in children:
            return children[part]
    try:
        return model.get_submodule(f"{name.rpartition('.')[0]}.output.dense")
    except AttributeError:
        raise _contradiction(name, "no output projection") from None


def _query_key_value(
    name: str, children: dict[str, nn.Module], width: int
) -> tuple[Projection, Projection, Projection]:
    for triple in QUERY_KEY_VALUE:
        if all(part in children for part in triple):
            query, key, value = [
                Projection(f"{name}.{part}", child, slice(0, linear_features(child)[1]))
                for part, child in zip(triple, map(children.__getitem__, triple), strict=True)
            ]
            return query, key, value
    part = next(part for part in FUSED if part in children)
    child = children[part]
    if linear_features(child)[1] != 3 * width:
        raise _contradiction(name, f"{part} with {linear_features(child)[1]} outputs")
    query, key, value = (
        Projection(f"{name}.{part}", child, slice(i * width, (i + 1) * width)) for i in range(3)
    )
    return query, key, value


def linear_features(module: nn.Module) -> tuple[int, int]:
    """Return the input and output features of a linear map."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, Conv1D):
        return module.nx, module.nf
    raise UnsupportedModelError(
        f"A projection of an attention module is a {type(module).__name__}",
        expected="nn.Linear or Conv1D",
        remedy="load the model without quantization or adapters",
    )


def linear_weight(module: nn.Module) -> torch.Tensor:
    """Return the weight of a linear map, a view (out_features, in_features)."""
    weight = module.get_parameter("weight")
    return weight.T if isinstance(module, Conv1D) else weight


def _first_int(owner: object, names: tuple[str, ...]) -> int | None:
    for name in names:
        value = getattr(owner, name, None)
        if isinstance(value, int):
            return value
    return None


def _contradiction(name: str, actual: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"The shapes of attention module '{name}' contradict each other",
        expected="heads * head_dim features into the output projection, and whole key-value heads",
        actual=actual,
        remedy="use a supported architecture; `load_classifier` names them",
    )
