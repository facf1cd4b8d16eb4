"""Importance of all units of a model: heads, groups of neurons, steps of a map's strength."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from prune_env.data.dataset import TextDataset
from prune_env.importance.gradients import batch_loss
from prune_env.importance.probe import Probe
from prune_env.importance.registry import UNIT_FEATURES, head_importance
from prune_env.importance.unit_features import unit_features
from prune_env.models.heads import linear_weight
from prune_env.models.loading import LoadedModel
from prune_env.models.ridge import RidgeMap
from prune_env.models.unit_map import UnitMap

Grid = npt.NDArray[np.float64]


def unit_importance(
    loaded: LoadedModel,
    dataset: TextDataset,
    unit_map: UnitMap,
    metrics: Sequence[str],
    *,
    max_length: int = 128,
    max_sentences: int | None = None,
    seed: int = 0,
) -> Grid:
    """Return raw importance metrics of every unit of a fine-tuned classifier.

    Heads have the metrics that `head_importance` gives them. Of the other units

    - `gate_gradient` is likewise what taking the unit away moves the loss of a sentence by, to
      first order: of a group of neurons |dL/dgate|, of a step of a map the gradient of its weights
      along the step; the mean over the sentences.
    - `magnitude` is the norm of the weights that go: of what the neurons are multiplied by, of
      the step itself.
    - the `UNIT_FEATURES` say what kind of unit it is, and where.
    - every other metric is defined for heads alone: other units have the largest value of a head,
      so that an order from the smallest prunes heads first.

    Args:
        loaded: The classifier; it stays as it is.
        dataset: Clean data.
        unit_map: Its units.
        metrics: Names from `METRICS` and `UNIT_FEATURES`.
        max_length: Tokens kept of a text.
        max_sentences: Measure on this many sentences, drawn at random; None takes all.
        seed: Of the draw of sentences.

    Returns:
        Float64 (L, W, M), finite, in the order of `metrics`; 0 where a unit does not exist.
    """
    model, tokenizer = loaded.model, loaded.tokenizer
    units = unit_map.units
    of_heads = [name for name in metrics if name not in UNIT_FEATURES]
    sizes: dict[str, Any] = {"max_length": max_length, "max_sentences": max_sentences, "seed": seed}
    heads = head_importance(model, tokenizer, dataset, of_heads, **sizes)
    columns = unit_features(units)
    if not units.heads_only and "gate_gradient" in metrics:
        columns["gate_gradient"] = _gradients(Probe(model, tokenizer, dataset, **sizes), unit_map)
    if not units.heads_only and "magnitude" in metrics:
        columns["magnitude"] = _magnitudes(model, unit_map)
    result = np.zeros((*units.shape, len(metrics)))
    for place, name in enumerate(metrics):
        if name not in UNIT_FEATURES:
            own = heads[..., of_heads.index(name)]
            column = columns.get(name, np.full(units.shape, own.max()))
            column[:, : units.heads] = own
        else:
            column = columns[name]
        result[..., place] = np.where(units.available, column, 0.0)
    return result


def _magnitudes(model: torch.nn.Module, unit_map: UnitMap) -> Grid:
    """Return the norm of the weights that go with each unit but heads (L, W)."""
    units = unit_map.units
    found = np.zeros(units.shape)
    for layer in range(units.shape[0]):
        if units.groups:
            weight = linear_weight(model.get_submodule(unit_map.neurons(layer))).detach()
            squares = weight.double().square().sum(0).cpu().numpy()
            found[layer, units.heads : units.heads + units.groups] = np.sqrt(
                [squares[unit_map.members(layer, group)].sum() for group in range(units.groups)]
            )
        for index, maps in enumerate(unit_map.maps(layer)):
            taken = sum(ridge.taken(unit_map.settings.strengths) for _, ridge in maps)
            found[layer, units.columns_of(index)] = np.sqrt(taken)
    return found


def _gradients(probe: Probe, unit_map: UnitMap) -> Grid:
    """Return the mean over sentences of what each unit but heads moves the loss by (L, W)."""
    units, strengths = unit_map.units, unit_map.settings.strengths
    total = np.zeros(units.shape)
    with probe.mode(train=False), torch.enable_grad():
        for batch in probe.batches("Measuring units: gradients"):
            count = len(batch.labels)
            gate = torch.ones((count, units.shape[0], units.groups), device=probe.model.device)
            gate.requires_grad_(units.groups > 0)
            with _watched(probe.model, unit_map, gate) as reads:
                batch_loss(probe, batch).backward(
                    inputs=[*([gate] if units.groups else []), *(each[2] for each in reads)]
                )
            if gate.grad is not None:
                slopes = gate.grad.abs().sum(0).double().cpu().numpy()
                total[:, units.heads : units.heads + units.groups] += slopes
            moved = torch.zeros((units.shape[0], units.maps, count, len(strengths)))
            for (layer, index, ridge), inputs, added in reads:
                if inputs.shape[0] == count:  # not a table that all sentences share
                    assert added.grad is not None
                    moved[layer, index] += ridge.slopes(inputs, added.grad, strengths).cpu()
            if units.maps:
                steps = moved.abs().sum(2).double().numpy()
                total[:, units.heads + units.groups :] += steps.reshape(units.shape[0], -1)
    return total / probe.sentences


Read = tuple[tuple[int, int, RidgeMap], torch.Tensor, torch.Tensor]


@contextmanager
def _watched(model: torch.nn.Module, unit_map: UnitMap, gate: torch.Tensor) -> Iterator[list[Read]]:
    """Gate groups of neurons (B, L, G), and yield what maps read and what is added to them.

    What is added is zero: its gradient is that of the map's output.
    """
    reads: list[Read] = []

    def gated(layer: int) -> Callable[..., Any]:
        group = torch.from_numpy(unit_map.group(layer)).to(gate.device)

        def multiply(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return (args[0] * gate[:, layer, group][:, None], *args[1:])

        return multiply

    def watched(place: tuple[int, int, RidgeMap]) -> Callable[..., Any]:
        def add(module: Any, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
            added = torch.zeros_like(output, requires_grad=True)
            reads.append((place, args[0].detach(), added))
            return output + added

        return add

    handles = [
        model.get_submodule(unit_map.neurons(layer)).register_forward_pre_hook(gated(layer))
        for layer in range(unit_map.units.shape[0])
        if unit_map.neurons(layer)
    ]
    handles += [
        model.get_submodule(name).register_forward_hook(watched((layer, index, ridge)))
        for layer in range(unit_map.units.shape[0])
        for index, maps in enumerate(unit_map.maps(layer))
        for name, ridge in maps
    ]
    try:
        yield reads
    finally:
        for handle in handles:
            handle.remove()
