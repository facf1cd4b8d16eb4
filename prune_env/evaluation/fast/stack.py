"""The stack of layers inside a transformers model: entering it, skipping into it, leaving it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from prune_env.models.heads import HeadMap

Forward = Callable[..., Any]


def find_layers(model: nn.Module, heads: HeadMap) -> tuple[nn.Module, ...] | None:
    """Return the modules that run one after the other, one per row of a mask, or None.

    They are the items of the one `nn.ModuleList` that holds the attention modules in order.
    """
    if {layer.calls for layer in heads.layers} != {1}:  # several layers run one attention module
        return None
    names = [layer.name.split(".") for layer in heads.layers]
    for depth, part in enumerate(names[0]):
        prefix = names[0][:depth]
        expected = [[*prefix, str(index)] for index in range(len(names))]
        if part == "0" and [name[: depth + 1] for name in names] == expected:
            layers = model.get_submodule(".".join(prefix))
            if isinstance(layers, nn.ModuleList) and len(layers) == len(names):
                return tuple(layers)
    return None


@contextmanager
def replaced(layers: Sequence[nn.Module], forwards: Sequence[Forward]) -> Iterator[None]:
    """Run other functions in place of the forward of some layers."""
    own = [vars(layer).get("forward") for layer in layers]  # what others may have put there
    try:
        for layer, forward in zip(layers, forwards, strict=True):
            layer.forward = forward
        yield
    finally:
        for layer, before in zip(layers, own, strict=True):
            vars(layer).pop("forward", None)
            if before is not None:
                layer.forward = before


class _EnteredError(Exception):
    """Carries what enters the first layer out of a forward pass that is not needed further."""


def entering(
    model: PreTrainedModel, layers: Sequence[nn.Module], batch: dict[str, torch.Tensor]
) -> torch.Tensor:
    """Return the embeddings (B, T, D) that enter the first layer."""

    def stop(*args: torch.Tensor, **kwargs: Any) -> Any:
        raise _EnteredError(args[0] if args else kwargs["hidden_states"])

    try:
        with replaced(layers[:1], [stop]):
            model(**batch)
    except _EnteredError as entered:
        hidden: torch.Tensor = entered.args[0]
        return hidden
    raise RuntimeError("the model did not run its first layer")


def leaving(
    model: PreTrainedModel,
    layers: Sequence[nn.Module],
    batch: dict[str, torch.Tensor],
    output: Any,
) -> torch.Tensor:
    """Return the logits (B, C) for a given output of the last layer."""
    with replaced(layers, [lambda *args, **kwargs: output] * len(layers)):
        logits: torch.Tensor = model(**batch).logits
    return logits
