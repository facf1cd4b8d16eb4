"""Finding the neurons of feed-forward networks by the structure of a transformer's modules."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from prune_env.errors import UnsupportedModelError
from prune_env.models.heads import LayerHeads, find_heads, linear_features, linear_weight


@dataclass(frozen=True, eq=False)
class LayerNeurons:
    """The feed-forward network of one layer and its neurons.

    Neuron n is input feature n of the linear map that leads back into the hidden state.

    Attributes:
        index: Row of the layer in a mask of heads.
        name: Name of that linear map in the model.
        module: The map: `nn.Linear`, or GPT-2's `Conv1D`, which keeps its weight transposed.
        count: Number of neurons.
    """

    index: int
    name: str
    module: nn.Module
    count: int

    def weight(self) -> torch.Tensor:
        """Return the map's weight, a view (out_features, count)."""
        return linear_weight(self.module)


def find_neurons(model: nn.Module) -> tuple[LayerNeurons, ...]:
    """Find the neurons of every layer that has heads, in the order of a mask's rows.

    Args:
        model: A transformers model.

    Raises:
        UnsupportedModelError: A layer has no feed-forward network, or several.
    """
    return tuple(_of_layer(model, layer) for layer in find_heads(model).layers)


def _of_layer(model: nn.Module, layer: LayerHeads) -> LayerNeurons:
    width = layer.output_weight().shape[0]
    attention = f"{layer.name}."
    found = [
        (f"{layer.block}.{name}", module, features)
        for name, module, features in _maps_to(model.get_submodule(layer.block), width)
        if module is not layer.projection and not f"{layer.block}.{name}".startswith(attention)
    ]
    if len(found) != 1:
        raise UnsupportedModelError(
            f"The feed-forward network of '{layer.block}' is not found",
            expected=f"one linear map to {width} features beside the attention",
            actual=", ".join(name for name, *_ in found) or "none",
            remedy="prune heads only",
        )
    name, module, count = found[0]
    return LayerNeurons(layer.index, name, module, count)


def _maps_to(block: nn.Module, width: int) -> Iterator[tuple[str, nn.Module, int]]:
    """Yield the linear maps to `width` features from another number of them."""
    for name, module in block.named_modules():
        if isinstance(module, nn.Linear | Conv1D):
            inner, outer = linear_features(module)
            if outer == width and inner != width:
                yield name, module, inner
