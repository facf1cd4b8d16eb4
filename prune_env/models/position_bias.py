"""Position biases, a number per head, that layers with different heads share."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


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
