"""Ridge regression of a model's linear maps to their own answers on clean inputs.

With clean inputs x of mean m and covariance C, a map W becomes

    W' = argmin E |W' (x - m) - W (x - m)|^2 + lambda |W'|^2 = W C (C + lambda I)^-1,

and its bias is moved so that the mean is answered as before. See `refit` for what this is good for.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from prune_env.data.dataset import TextDataset
from prune_env.models.forward import batches, in_precision, inference
from prune_env.models.heads import find_heads, linear_features, linear_weight
from prune_env.models.inputs import make_rows
from prune_env.models.loading import LoadedModel
from prune_env.models.moments import Moments, Spectrum

BATCH = 32


class RidgeMap:
    """A linear map, the spectrum of what it reads, and its weights as they were."""

    def __init__(self, module: nn.Module, spectrum: Spectrum) -> None:
        self.module = module
        self.count = spectrum.count
        self._weight = linear_weight(module)
        self._bias: torch.Tensor | None = getattr(module, "bias", None)
        self._spectrum = spectrum
        with torch.no_grad():
            self._old_weight = self._weight.detach().clone()
            self._old_bias = None if self._bias is None else self._bias.detach().clone()
            self._turned = self._old_weight.float() @ spectrum.directions
            self._norm = float(self._turned.square().sum())

    def fitted(self, strength: float) -> tuple[torch.Tensor, torch.Tensor | None, float]:
        """Return the refitted weights, in tensors of their own unless nothing is changed.

        Args:
            strength: lambda over `Spectrum.scale`; 0 leaves the weights alone.

        Returns:
            Weight (out, in) and bias (out,), and the share of the squared norm that stays.
        """
        spectrum = self._spectrum
        if not (strength and spectrum.scale > 0 and self._norm > 0):
            # Of a layer without heads nothing is read, or nothing made of it.
            return self._old_weight, self._old_bias, 1.0
        turned = self._turned * spectrum.kept(strength)
        weight = (turned @ spectrum.directions.T).to(self._old_weight.dtype)
        bias = self._old_bias
        if bias is not None:
            bias = bias.clone().add_((self._old_weight - weight).float() @ spectrum.mean)
        return weight, bias, float(turned.square().sum()) / self._norm

    def taken(self, strengths: Sequence[float]) -> npt.NDArray[np.float64]:
        """Return the squared norm of what each strength takes beyond the one before it, (S,)."""
        steps = self._steps(strengths)
        squares = (self._turned.double() ** 2).sum(0) @ steps.double().square().T
        taken: npt.NDArray[np.float64] = squares.cpu().numpy()
        return taken

    def slopes(
        self, inputs: torch.Tensor, gradients: torch.Tensor, strengths: Sequence[float]
    ) -> torch.Tensor:
        """Return what each strength beyond the one before moves losses by, to first order.

        Args:
            inputs: (B, T, width), what the map read.
            gradients: (B, T, out), of the summed loss by what it answered.
            strengths: S of them, ascending.

        Returns:
            Float32 (B, S), signed.
        """
        read = (inputs.float() - self._spectrum.mean) @ self._spectrum.directions
        along = (read * (gradients.float() @ self._turned)).flatten(1, -2).sum(1)
        return along @ self._steps(strengths).T

    def _steps(self, strengths: Sequence[float]) -> torch.Tensor:
        """Return by how much what is kept along each direction changes, (S, width), below 0."""
        kept = [self._spectrum.kept(each) for each in strengths]
        return torch.diff(torch.stack([torch.ones_like(self._spectrum.variances), *kept]), dim=0)

    def fit(self, strength: float) -> float:
        """Refit the weights as they were, in place; return the share of their norm that stays.

        Args:
            strength: See `fitted`; 0 puts the weights back.
        """
        with torch.no_grad():
            weight, bias, kept = self.fitted(strength)
            self._weight.copy_(weight)
            if self._bias is not None and bias is not None:
                self._bias.copy_(bias)
        return kept


@dataclass(frozen=True, eq=False)
class ReadAlike:
    """Linear maps that read the same tensors, and the moments of these.

    Attributes:
        modules: The maps, in the order in which a forward pass calls them.
        moments: Of what they read on clean data.
    """

    modules: tuple[nn.Module, ...]
    moments: Moments

    def maps(self) -> Iterator[RidgeMap]:
        """Yield the maps; most have a bias, and one spectrum serves them all."""
        spectra: dict[bool, Spectrum] = {}
        for module in self.modules:
            biased = getattr(module, "bias", None) is not None
            if biased not in spectra:
                spectra[biased] = Spectrum.of(self.moments, centred=biased)
            yield RidgeMap(module, spectra[biased])


def measure_maps(
    loaded: LoadedModel, train: TextDataset, *, sentences: int, max_length: int, seed: int
) -> list[RidgeMap]:
    """Return the linear maps of the layers, with the moments of what they read.

    Arguments are those of `read_moments`.
    """
    groups = read_moments(loaded, train, sentences=sentences, max_length=max_length, seed=seed)
    maps: list[RidgeMap] = []
    groups.reverse()
    while groups:  # of each the moments are given back as soon as there is its spectrum
        maps += groups.pop().maps()
    return maps


def read_moments(
    loaded: LoadedModel, train: TextDataset, *, sentences: int, max_length: int, seed: int
) -> list[ReadAlike]:
    """Return the linear maps of the layers, those together that read the same, with its moments.

    Args:
        loaded: A classifier of texts or images.
        train: Clean data; labels do not count.
        sentences: Of these, drawn, that inputs are collected on.
        max_length: Tokens kept of a text.
        seed: Of the draw.
    """
    drawn = np.random.default_rng(seed).permutation(len(train))[:sentences]
    rows = make_rows([train.texts[row] for row in drawn], loaded.tokenizer, max_length)
    model, device = loaded.model, loaded.model.device
    modules = list(_layer_maps(model))
    seen: torch.Tensor | None = None
    with inference(model), in_precision(model, "auto"):
        groups = _read_alike(model, modules, rows.batch(np.arange(1), device))
        moments = {group[0]: Moments(linear_features(group[0])[0], device) for group in groups}
        with _hooked(moments, lambda module, inputs: moments[module].read(inputs, seen)):
            for batch in batches(rows, device, size=BATCH, description="Reading clean data"):
                attention = batch.inputs.get("attention_mask")
                seen = None if attention is None else attention.bool()
                model(**batch.inputs)
    return [ReadAlike(tuple(group), moments[group[0]]) for group in groups]


def _layer_maps(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the linear maps inside the layers that hold heads, each once."""
    seen: set[nn.Module] = set()
    for layer in find_heads(model).layers:
        for module in model.get_submodule(layer.block).modules():
            if isinstance(module, nn.Linear | Conv1D) and module not in seen:
                seen.add(module)
                yield module


def _read_alike(
    model: nn.Module, modules: Sequence[nn.Module], inputs: dict[str, torch.Tensor]
) -> list[list[nn.Module]]:
    """Return the modules that a forward pass calls, those together that read the same tensors."""
    read: dict[nn.Module, list[torch.Tensor]] = {}
    with _hooked(modules, lambda module, tensor: read.setdefault(module, []).append(tensor)):
        model(**inputs)
    # The tensors are still held, so each has an identity of its own.
    groups: dict[tuple[int, ...], list[nn.Module]] = {}
    for module, tensors in read.items():
        groups.setdefault(tuple(map(id, tensors)), []).append(module)
    return list(groups.values())


@contextmanager
def _hooked(
    modules: Iterable[nn.Module], read: Callable[[nn.Module, torch.Tensor], object]
) -> Iterator[None]:
    """Call `read` with what the modules are given."""

    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
        read(module, args[0])

    handles = [module.register_forward_pre_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
