"""Units switched off, by gates and borrowed weights, or for good."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers.pytorch_utils import Conv1D

from prune_env.models.gates import HeadGates
from prune_env.models.heads import HeadMap, linear_weight
from prune_env.models.masks import Mask
from prune_env.models.pruning import zero_heads
from prune_env.models.unit_map import UnitMap


class Gates(Protocol):
    """Puts masks on a model for as long as it is entered."""

    def set(self, gates: Any) -> None:
        """Put a mask on from the next forward pass on."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def gates_on(model: nn.Module, heads: HeadMap, unit_map: UnitMap | None) -> Gates:
    """Return what puts masks (L, W) on a model; of heads alone where there is no map of units."""
    return HeadGates(model, heads) if unit_map is None else UnitGates(model, unit_map, heads)


class UnitGates:
    """Closes heads and neurons by gates, and lends linear maps their refitted weights.

    No weight is changed: a map that is refitted reads other tensors, in the precision of its own.

    Args:
        model: The model of the units, or a copy of it.
        unit_map: Its units.
        heads: Its heads.
    """

    def __init__(self, model: nn.Module, unit_map: UnitMap, heads: HeadMap) -> None:
        self._model = model
        self._map = unit_map
        self._heads = HeadGates(model, heads)
        self._own: dict[nn.Module, dict[str, nn.Parameter | None]] = {}
        self._open: list[torch.Tensor | None] = [None] * len(heads.layers)
        self._handles: list[RemovableHandle] = [
            model.get_submodule(unit_map.neurons(layer.index)).register_forward_pre_hook(
                self._hook(layer.index)
            )
            for layer in heads.layers
            if unit_map.neurons(layer.index)
        ]

    def set(self, gates: Mask) -> None:
        """Put a mask, bool (L, W), on from the next forward pass on."""
        self._heads.set(self._map.units.head_part(gates).copy())
        self._give_back()
        strengths = self._map.units.strengths(gates).tolist()
        for layer, row in enumerate(gates):
            is_open = self._map.open_neurons(layer, row)
            self._open[layer] = None if is_open is None else torch.from_numpy(is_open)
            for name, (weight, bias) in self._map.refitted(layer, strengths[layer]):
                self._lend(self._model.get_submodule(name), weight, bias)

    def remove(self) -> None:
        """Detach from the model; doing it twice changes nothing."""
        self._heads.remove()
        self._give_back()
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def _lend(self, module: nn.Module, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        own = dict(module._parameters)
        self._own[module] = own
        weight = weight.T if isinstance(module, Conv1D) else weight
        for name, value in (("weight", weight), ("bias", bias)):
            old = own.get(name)
            if old is not None and value is not None:
                lent = value.to(device=old.device, dtype=old.dtype)
                module._parameters[name] = nn.Parameter(lent, requires_grad=False)

    def _give_back(self) -> None:
        for module, own in self._own.items():
            module._parameters.update(own)
        self._own = {}

    def _hook(self, layer: int) -> Callable[[nn.Module, tuple[Any, ...]], Any]:
        def multiply(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            is_open = self._open[layer]
            if is_open is None:
                return None
            neurons: torch.Tensor = args[0]
            return (neurons * is_open.to(neurons), *args[1:])

        return multiply


def write_units(model: nn.Module, unit_map: UnitMap, mask: Mask) -> None:
    """Write a mask of units into the weights, in place; the outputs equal those under `UnitGates`.

    Maps are refitted, then heads and neurons are zeroed.

    Args:
        model: The model of the units, or a copy of it.
        unit_map: Its units.
        mask: Bool (L, W), True = kept.
    """
    with torch.no_grad():
        for layer, strengths in enumerate(unit_map.units.strengths(mask).tolist()):
            for name, (weight, bias) in unit_map.refitted(layer, strengths):
                module = model.get_submodule(name)
                linear_weight(module).copy_(weight)
                if bias is not None:
                    module.get_parameter("bias").copy_(bias)
        zero_heads(model, unit_map.units.head_part(mask))
        for layer, row in enumerate(mask):
            is_open = unit_map.open_neurons(layer, row)
            if is_open is not None:
                weight = linear_weight(model.get_submodule(unit_map.neurons(layer)))
                weight[:, torch.from_numpy(np.flatnonzero(~is_open))] = 0
