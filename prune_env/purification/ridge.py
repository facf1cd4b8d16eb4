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
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from prune_env.data.dataset import TextDataset
from prune_env.models import LoadedModel, find_heads
from prune_env.models.forward import batches, inference
from prune_env.models.heads import linear_features, linear_weight
from prune_env.models.inputs import make_rows

BATCH = 32


class Moments:
    """Mean and covariance of what some maps read."""

    def __init__(self, width: int, device: torch.device) -> None:
        self.count = 0
        self._shift = torch.zeros(width, device=device)
        self._total = torch.zeros(width, device=device)
        self._products = torch.zeros(width, width, device=device)

    def read(self, inputs: torch.Tensor, seen: torch.Tensor | None) -> None:
        """Add inputs (..., width) to the moments; of a padded batch, those that are seen (B, T)."""
        # DeBERTa also maps its table of relative positions, which has no padding.
        padded = seen is not None and inputs.shape[:2] == seen.shape
        rows = (inputs[seen] if padded else inputs.flatten(0, -2)).float()
        # A variance may be small beside its mean: little of it survives in fp32, nothing in bf16.
        if not self.count:
            self._shift = rows.mean(0)
        rows = rows - self._shift
        self.count += len(rows)
        self._total += rows.sum(0)
        with torch.autocast(rows.device.type, enabled=False):
            self._products += rows.T @ rows

    def covariance(self, *, centred: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean (width,) and the covariance (width, width) of the inputs, in float64.

        Args:
            centred: Whether a bias answers for the mean; else it is a direction like any other,
                and the mean that is returned is zero.
        """
        beyond = self._total.double() / self.count
        mean = self._shift.double() + beyond
        covariance = self._products.double() / self.count - torch.outer(beyond, beyond)
        if centred:
            return mean, covariance
        return torch.zeros_like(mean), covariance + torch.outer(mean, mean)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What maps read, by its principal directions: one decomposition serves every strength.

    Attributes:
        mean: Float32 (width,).
        variances: Float32 (width,), along the directions.
        directions: Float32 (width, width), a column each.
        count: Inputs that were read.
    """

    mean: torch.Tensor
    variances: torch.Tensor
    directions: torch.Tensor
    count: int

    @classmethod
    def of(cls, moments: Moments, *, centred: bool) -> "Spectrum":
        """Return the spectrum of what was read."""
        mean, covariance = moments.covariance(centred=centred)
        # In fp32: what it rounds off lies far below the smallest lambda.
        variances, directions = torch.linalg.eigh(covariance.float())
        return cls(mean.float(), variances.clamp(min=0), directions, moments.count)


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

    def fit(self, strength: float) -> float:
        """Refit the weights as they were; return the share of their squared norm that stays.

        Args:
            strength: lambda over the mean variance of the inputs; 0 puts the weights back.
        """
        spectrum = self._spectrum
        variance = spectrum.variances.mean()
        with torch.no_grad():
            self._weight.copy_(self._old_weight)
            if self._bias is not None and self._old_bias is not None:
                self._bias.copy_(self._old_bias)
            if not (strength and variance > 0 and self._norm > 0):
                return 1.0  # of a layer without heads nothing is read, or nothing made of it
            kept = spectrum.variances / (spectrum.variances + strength * variance)
            turned = self._turned * kept
            self._weight.copy_(turned @ spectrum.directions.T)
            if self._bias is not None:
                self._bias.add_((self._old_weight - self._weight).float() @ spectrum.mean)
            return float(turned.square().sum()) / self._norm


def measure_maps(
    loaded: LoadedModel, train: TextDataset, *, sentences: int, max_length: int, seed: int
) -> list[RidgeMap]:
    """Return the linear maps of the layers, with the moments of what they read.

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
    with inference(model, "auto"):
        groups = _read_alike(model, modules, rows.batch(np.arange(1), device))
        moments = {group[0]: Moments(linear_features(group[0])[0], device) for group in groups}
        with _hooked(moments, lambda module, inputs: moments[module].read(inputs, seen)):
            for batch in batches(rows, device, size=BATCH, description="Reading clean data"):
                attention = batch.inputs.get("attention_mask")
                seen = None if attention is None else attention.bool()
                model(**batch.inputs)
    return [each for group in groups for each in _maps(group, moments[group[0]])]


def _maps(modules: Sequence[nn.Module], moments: Moments) -> Iterator[RidgeMap]:
    """Yield maps that read the same; most have a bias, and one spectrum serves them all."""
    spectra: dict[bool, Spectrum] = {}
    for module in modules:
        biased = getattr(module, "bias", None) is not None
        if biased not in spectra:
            spectra[biased] = Spectrum.of(moments, centred=biased)
        yield RidgeMap(module, spectra[biased])


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
