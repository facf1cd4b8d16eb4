"""Ridge regression of a model's linear maps to their own answers on clean inputs.

With clean inputs x of mean m and covariance C, a map W becomes

    W' = argmin E |W' (x - m) - W (x - m)|^2 + lambda |W'|^2 = W C (C + lambda I)^-1,

and its bias is moved so that the mean is answered as before. See `refit` for what this is good for.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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


class RidgeMap:
    """A linear map, the moments of what it reads, and its weights as they were."""

    def __init__(self, module: nn.Module) -> None:
        width, _ = linear_features(module)
        self.module = module
        self._bias: torch.Tensor | None = getattr(module, "bias", None)
        self._old = [tensor.detach().clone() for tensor in self._tensors()]
        device = self._old[0].device
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

    def fit(self, strength: float) -> float:
        """Refit the weights as they were; return the share of their squared norm that stays.

        Args:
            strength: lambda over the mean variance of the inputs; 0 puts the weights back.
        """
        with torch.no_grad():
            for tensor, old in zip(self._tensors(), self._old, strict=True):
                tensor.copy_(old)
            if not strength:
                return 1.0
            mean, covariance = self._moments
            variance = covariance.diagonal().mean()
            weight = linear_weight(self.module)
            before = weight.double()
            if not (variance > 0 and before.any()):
                return 1.0  # a layer without heads: nothing is read there, or nothing made of it
            ridge = strength * variance * torch.eye(len(mean)).to(covariance)
            after = torch.linalg.solve(covariance + ridge, (before @ covariance).T).T
            weight.copy_(after)
            if self._bias is not None:
                self._bias.add_((before - after) @ mean)
            return float(after.square().sum() / before.square().sum())

    @property
    def _moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean (width,) and the covariance (width, width) of the inputs, in float64.

        Made anew each time: kept, those of a large model would take twice the room of the sums.
        """
        beyond = self._total.double() / self.count
        mean = self._shift.double() + beyond
        covariance = self._products.double() / self.count - torch.outer(beyond, beyond)
        if self._bias is not None:
            return mean, covariance
        # Without a bias nothing can answer for the mean, so it is a direction like any other.
        return torch.zeros_like(mean), covariance + torch.outer(mean, mean)

    def _tensors(self) -> list[torch.Tensor]:
        weight = linear_weight(self.module)
        return [weight] if self._bias is None else [weight, self._bias]


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
    maps = [RidgeMap(module) for module in _layer_maps(loaded.model)]
    drawn = np.random.default_rng(seed).permutation(len(train))[:sentences]
    samples = make_rows([train.texts[row] for row in drawn], loaded.tokenizer, max_length)
    model = loaded.model
    with _reading(maps) as show, inference(model, "auto"):
        for batch in batches(samples, model.device, size=BATCH):
            show(batch.inputs.get("attention_mask"))
            model(**batch.inputs)
    return [each for each in maps if each.count]


def _layer_maps(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the linear maps inside the layers that hold heads, each once."""
    seen: set[nn.Module] = set()
    for layer in find_heads(model).layers:
        for module in model.get_submodule(layer.block).modules():
            if isinstance(module, nn.Linear | Conv1D) and module not in seen:
                seen.add(module)
                yield module


@contextmanager
def _reading(maps: Sequence[RidgeMap]) -> Iterator[Callable[[torch.Tensor | None], None]]:
    """Let maps read what the model gives them; yields a setter of the batch's attention mask."""
    seen: list[torch.Tensor | None] = [None]

    def hook(each: RidgeMap) -> Any:
        return each.module.register_forward_pre_hook(lambda _, args: each.read(args[0], seen[0]))

    def show(attention: torch.Tensor | None) -> None:
        seen[0] = None if attention is None else attention.bool()

    handles = [hook(each) for each in maps]
    try:
        yield show
    finally:
        for handle in handles:
            handle.remove()
