"""What pruning the units of a model does to it: which neurons close, which weights are refitted."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from prune_env.data.dataset import TextDataset
from prune_env.errors import SettingsError
from prune_env.models.heads import HeadMap, find_heads
from prune_env.models.loading import LoadedModel
from prune_env.models.masks import Mask
from prune_env.models.neurons import LayerNeurons, find_neurons
from prune_env.models.ridge import ReadAlike, RidgeMap, read_moments
from prune_env.models.units import Units
from prune_env.settings import UnitSettings
from prune_env.utils.counts import count_of

Weights = tuple[torch.Tensor, torch.Tensor | None]
"""Weight (out, in) and bias (out,) of a linear map."""

_REMEMBERED = 96
"""Refitted linear maps that are kept; each is made again with one product."""


@dataclass(frozen=True, eq=False)
class LayerUnits:
    """What the units of one layer stand for, besides its heads.

    Attributes:
        neurons: Name of the map that reads the feed-forward neurons; empty without groups.
        group: Int64 (N,), the group of each neuron.
        maps: By map of the mask the linear maps that read the same, each with its name.
    """

    neurons: str
    group: npt.NDArray[np.int64]
    maps: tuple[tuple[tuple[str, RidgeMap], ...], ...]


class UnitMap:
    """The units of one model, and what becomes of its weights without them.

    Neuron n belongs to a group by how much the neurons write on clean data (mean square of the
    activation, times the squared norm of what it is multiplied by): groups are equal blocks of
    that order, the quietest first, as Fine-Pruning (Liu et al., RAID 2018) prunes them. A map is
    refitted by ridge regression to its own answers on clean data (`models.ridge`), all strengths
    from one decomposition.

    Args:
        heads: Heads of the model.
        layers: One entry per row of a mask.
        settings: How units are cut.
        source: What else the units depend on, for the digest.

    Attributes:
        units: The grid.
        settings: How units are cut.
        sha256: Digest (hex) of the settings and of the clean data that was read.
    """

    def __init__(
        self, heads: HeadMap, layers: Sequence[LayerUnits], settings: UnitSettings, source: str
    ) -> None:
        self.settings = settings
        self.sha256 = hashlib.sha256(f"{settings} {source}".encode()).hexdigest()
        self._layers = tuple(layers)
        maps = max(len(layer.maps) for layer in layers)
        counts = np.array([len(layer.maps) for layer in layers])
        steps = np.repeat(np.arange(maps) < counts[:, None], settings.steps, axis=1)
        groups = np.ones((len(layers), settings.groups), np.bool_)
        self.units = Units(
            np.concatenate([heads.available, groups, steps], axis=1),
            heads.shape[1],
            settings.groups,
            maps if settings.steps else 0,
            settings.steps,
        )
        self._values = settings.strengths
        self._fitted = lru_cache(maxsize=_REMEMBERED)(RidgeMap.fitted)

    def refitted(self, layer: int, strengths: Iterable[int]) -> Iterator[tuple[str, Weights]]:
        """Yield the linear maps of a layer that are refitted, by name.

        Args:
            layer: Which.
            strengths: Of its maps, see `Units.strengths`.
        """
        for strength, maps in zip(strengths, self._layers[layer].maps, strict=False):
            for name, ridge in maps if strength else ():
                yield name, self._fitted(ridge, self._values[strength - 1])[:2]

    def open_neurons(self, layer: int, row: Mask) -> npt.NDArray[np.bool_] | None:
        """Return which neurons (N,) a row (W,) of a mask leaves open; None if it closes none."""
        kept = self.units.group_part(row)
        if kept.all():
            return None
        is_open: npt.NDArray[np.bool_] = kept[self._layers[layer].group]
        return is_open

    def neurons(self, layer: int) -> str:
        """Return the name of the map that reads a layer's neurons; empty without groups."""
        return self._layers[layer].neurons

    def maps(self, layer: int) -> tuple[tuple[tuple[str, RidgeMap], ...], ...]:
        """Return the linear maps of each map of a layer, with their names."""
        return self._layers[layer].maps

    def group(self, layer: int) -> npt.NDArray[np.int64]:
        """Return the group (N,) of each neuron of a layer."""
        return self._layers[layer].group

    def members(self, layer: int, group: int) -> npt.NDArray[np.int64]:
        """Return the neurons of a group of a layer, int64 (n,)."""
        return np.flatnonzero(self._layers[layer].group == group)


def measure_units(
    loaded: LoadedModel, train: TextDataset, settings: UnitSettings, *, max_length: int = 128
) -> UnitMap:
    """Cut a classifier into units by what it does on clean data.

    Args:
        loaded: The classifier; it stays as it is.
        train: Clean data; labels do not count.
        settings: How units are cut.
        max_length: Tokens kept of a text.

    Raises:
        UnsupportedModelError: The heads or the feed-forward networks cannot be found.
        SettingsError: A layer has fewer neurons than groups.
    """
    heads = find_heads(loaded.model)
    names = {module: name for name, module in loaded.model.named_modules()}
    neurons = find_neurons(loaded.model) if settings.groups else ()
    groups: list[ReadAlike] = []
    if settings.groups or settings.steps:
        groups = read_moments(
            loaded, train, sentences=settings.sentences, max_length=max_length, seed=0
        )
    layers = []
    for layer in heads.layers:
        own = [each for each in groups if names[each.modules[0]].startswith(f"{layer.block}.")]
        group, reads = np.zeros(0, np.int64), ""
        if settings.groups:
            reads = neurons[layer.index].name
            group = _groups(neurons[layer.index], own, settings.groups)
        maps = tuple(
            tuple((names[each.module], each) for each in alike.maps())
            for alike in (own if settings.steps else ())
        )
        layers.append(LayerUnits(reads, group, maps))
    return UnitMap(heads, layers, settings, f"{train.sha256} {max_length}")


def _groups(neurons: LayerNeurons, alike: Sequence[ReadAlike], count: int) -> npt.NDArray[np.int64]:
    """Return the group (N,) of each neuron, the quietest on clean data in group 0."""
    if neurons.count < count:
        raise SettingsError(
            f"'{neurons.name}' reads fewer neurons than there are groups",
            expected=f"at most {count_of(neurons.count, 'group')}",
            actual=count,
        )
    moments = next(each.moments for each in alike if neurons.module in each.modules)
    squares = moments.covariance(centred=False)[1].diagonal()
    written = squares * neurons.weight().detach().double().square().sum(0)
    order = np.argsort(written.cpu().numpy(), kind="stable")
    group = np.empty(neurons.count, np.int64)
    for number, block in enumerate(np.array_split(order, count)):
        group[block] = number
    return group
