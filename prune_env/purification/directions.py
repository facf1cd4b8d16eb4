"""Pruning of the directions that clean texts hardly use.

What a linear map reads varies, on clean data, along few directions of its input space; a trigger
that clean data does not hold is read along the others. So the principal components of a map's
inputs that carry the least variance are cut out of its weights: on whatever lies along them, the
map answers as it does on the mean clean input. Fine-tuning on clean data cannot grow them back,
because its gradients lie in the directions that clean data uses.

Source: Fine-Pruning (Liu et al., RAID 2018) prunes the neurons that clean data leaves dormant;
here, as in SliceGPT (Ashkboos et al., ICLR 2024), the basis is that of the principal components,
and what is cut is chosen by validation accuracy.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from prune_env.data.dataset import TextDataset
from prune_env.evaluation.images import make_rows
from prune_env.metrics import calibrated_threshold, lean
from prune_env.models import LoadedModel, find_heads, zero_heads
from prune_env.models.heads import linear_features, linear_weight
from prune_env.models.masks import Mask
from prune_env.runtime import use_bf16
from prune_env.scores import classify
from prune_env.settings import FineTuneSettings
from prune_env.training import fine_tune

log = logging.getLogger(__name__)

SENTENCES = 1000
"""Clean texts that inputs are collected on."""

BATCH = 32

SHARES = tuple(round(0.50 + 0.01 * step, 2) for step in range(50))
"""Shares of the variance that may be kept, the boldest cut first."""

ROUNDS = 2
"""Cuts, each followed by a fine-tuning."""

TRAINED = 2048
"""Texts that each fine-tuning reads at least; of few, each is read several times."""

MAX_DROP = 0.03
"""Validation accuracy (0 to 1) that a cut may lose before the fine-tuning that follows."""


@dataclass(frozen=True)
class Cut:
    """What a pruning of directions did.

    Attributes:
        variance: Share of the variance of each map's inputs that was kept; 1 where nothing was cut.
        directions: Mean share of the directions that were kept.
        accuracy: Validation accuracy (0 to 1) after it, calibrated where there are two classes.
    """

    variance: float
    directions: float
    accuracy: float


def prune_and_train(
    member: LoadedModel,
    *,
    mask: Mask,
    data: TextDataset,
    validation: TextDataset,
    settings: FineTuneSettings,
    seed: int = 0,
    folder: Path | None = None,
    on_cut: Callable[[Cut], None] = lambda _: None,
) -> None:
    """Cut directions out of a classifier and fine-tune what is left, `ROUNDS` times, in place.

    Args:
        member: The classifier, its pruned heads zeroed.
        mask: Bool (L, H), True = kept; pruned heads stay closed.
        data: Clean data to measure and to train on, labels in the order of the model's logits.
        validation: Clean data that accuracy is judged on, likewise.
        settings: Of each fine-tuning; epochs do not count.
        seed: Of every draw.
        folder: Where TensorBoard events go.
        on_cut: Called with what each round cuts.
    """
    length = settings.max_length
    least = accuracy(member, validation, length) - MAX_DROP
    tuning = replace(settings, epochs=math.ceil(TRAINED / len(data)))
    for number in range(ROUNDS):
        on_cut(
            prune_directions(member, data, validation, least=least, max_length=length, seed=seed)
        )
        zero_heads(member.model, mask)
        fine_tune(
            member.model,
            member.tokenizer,
            data,
            tuning,
            seed=seed + number,
            mask=mask,
            folder=folder,
            description="Fine-tuning what is left",
        )


def prune_directions(
    loaded: LoadedModel,
    train: TextDataset,
    validation: TextDataset,
    *,
    least: float,
    max_length: int = 128,
    seed: int = 0,
) -> Cut:
    """Cut the directions of least variance out of every layer's linear maps, in place.

    Every map keeps the same share of its inputs' variance: the smallest of `SHARES` that
    validation accuracy allows, found by bisection.

    Args:
        loaded: A classifier of texts or images.
        train: Clean data that the directions are measured on.
        validation: Clean data that accuracy is judged on, labels in the order of the logits.
        least: Validation accuracy (0 to 1) that must stay.
        max_length: Tokens kept of a text.
        seed: Of the draw of texts.

    Returns:
        What was cut; nothing, where no share leaves that accuracy.
    """
    maps = _measured(loaded, train, max_length, seed)

    def outcome(share: float) -> Cut:
        kept = [each.keep(share) for each in maps]
        return Cut(share, float(np.mean(kept)), accuracy(loaded, validation, max_length))

    best = outcome(1.0)
    low, high = 0, len(SHARES)
    while low < high:
        middle = (low + high) // 2
        tried = outcome(SHARES[middle])
        if tried.accuracy >= least:
            best, high = tried, middle
        else:
            low = middle + 1
    for each in maps:
        each.keep(best.variance)
    log.info(
        "%.0f %% of the variance and %.0f %% of the directions are kept",
        100 * best.variance,
        100 * best.directions,
    )
    return best


def accuracy(loaded: LoadedModel, data: TextDataset, max_length: int) -> float:
    """Return the accuracy (0 to 1), of two classes at the calibrated threshold."""
    device = loaded.model.device
    with torch.autocast(device.type, torch.bfloat16, enabled=use_bf16("auto", device)):
        logits = classify(loaded.model, loaded.tokenizer, list(data.texts), max_length=max_length)
    if logits.shape[1] == 2:
        answers = lean(logits) > calibrated_threshold(logits, data.labels)
    else:
        answers = logits.argmax(axis=1)
    return float((answers == data.labels).mean())


class _Map:
    """A linear map, the moments of what it reads, and its weights as they were."""

    def __init__(self, module: nn.Module) -> None:
        width, _ = linear_features(module)
        self.module = module
        self._bias: torch.Tensor | None = getattr(module, "bias", None)
        self._old = [tensor.detach().clone() for tensor in self._tensors()]
        device = self._old[0].device
        self.count = 0
        self._total = torch.zeros(width, device=device)
        self._products = torch.zeros(width, width, device=device)

    def read(self, inputs: torch.Tensor, seen: torch.Tensor | None) -> None:
        """Add inputs (..., width) to the moments; of a padded batch, those that are seen (B, T)."""
        # DeBERTa also maps its table of relative positions, which has no padding.
        padded = seen is not None and inputs.shape[:2] == seen.shape
        rows = (inputs[seen] if padded else inputs.flatten(0, -2)).float()
        self.count += len(rows)
        self._total += rows.sum(0)
        self._products += rows.T @ rows

    def solve(self) -> None:
        """Find the principal components, once all inputs are read."""
        mean = self._total / self.count
        # What is cut is answered as the mean is. Without a bias nothing can hold that answer, so
        # the mean is a direction like any other.
        self._mean = mean if self._bias is not None else torch.zeros_like(mean)
        moments = self._products / self.count - torch.outer(self._mean, self._mean)
        values, self._components = torch.linalg.eigh(moments)
        self._explained = values.clamp(min=0).flip(0).cumsum(0) / values.clamp(min=0).sum()
        del self._products

    def keep(self, share: float) -> float:
        """Cut what carries the rest of the variance; return the share of directions kept."""
        width = len(self._explained)
        rank = width
        if share < 1:
            rank = min(width, int((self._explained < share).sum()) + 1)
        with torch.no_grad():
            for tensor, old in zip(self._tensors(), self._old, strict=True):
                tensor.copy_(old)
            if rank < width:
                cut = self._components[:, : width - rank]
                weight = linear_weight(self.module)
                gone = weight @ cut
                weight.sub_(gone @ cut.T)
                if self._bias is not None:
                    self._bias.add_(gone @ (cut.T @ self._mean))
        return rank / width

    def _tensors(self) -> list[torch.Tensor]:
        weight = linear_weight(self.module)
        return [weight] if self._bias is None else [weight, self._bias]


def _measured(loaded: LoadedModel, train: TextDataset, max_length: int, seed: int) -> list[_Map]:
    """Return the linear maps of the layers with the components of what they read."""
    maps = [_Map(module) for module in _layer_maps(loaded.model)]
    drawn = np.random.default_rng(seed).permutation(len(train))[:SENTENCES]
    rows = make_rows([train.texts[row] for row in drawn], loaded.tokenizer, max_length)
    order = np.argsort(rows.lengths, kind="stable")
    model, device = loaded.model.eval(), loaded.model.device
    with (
        _reading(maps) as show,
        torch.no_grad(),
        torch.autocast(device.type, torch.bfloat16, enabled=use_bf16("auto", device)),
    ):
        for start in range(0, len(order), BATCH):
            batch = rows.batch(order[start : start + BATCH], device)
            show(batch.get("attention_mask"))
            model(**batch)
    used = [each for each in maps if each.count]
    for each in used:
        each.solve()
    return used


def _layer_maps(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the linear maps inside the layers that hold heads, each once."""
    seen: set[nn.Module] = set()
    for layer in find_heads(model).layers:
        for module in model.get_submodule(layer.block).modules():
            if isinstance(module, nn.Linear | Conv1D) and module not in seen:
                seen.add(module)
                yield module


@contextmanager
def _reading(maps: Sequence[_Map]) -> Iterator[Callable[[torch.Tensor | None], None]]:
    """Let maps read what the model gives them; yields a setter of the batch's attention mask."""
    seen: list[torch.Tensor | None] = [None]

    def hook(each: _Map) -> Any:
        return each.module.register_forward_pre_hook(lambda _, args: each.read(args[0], seen[0]))

    def show(attention: torch.Tensor | None) -> None:
        seen[0] = None if attention is None else attention.bool()

    handles = [hook(each) for each in maps]
    try:
        yield show
    finally:
        for handle in handles:
            handle.remove()
