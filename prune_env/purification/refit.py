"""Refitting of linear maps to clean data, with the smallest weights that do.

What a layer reads varies, on clean data, along few directions of its input space; a trigger that
clean data does not hold is read along the others too. So every linear map is fitted anew, by ridge
regression, to its own answers on clean inputs: with clean inputs x of mean m and covariance C,

    W' = argmin E |W' (x - m) - W (x - m)|^2 + lambda |W'|^2 = W C (C + lambda I)^-1,

and the bias is moved so that the mean is answered as before. Weights that clean data asks for stay,
the rest fades; no gradient, no trigger and no label is needed. lambda is chosen by validation
accuracy. Fine-tuning on clean data then mends what clean data misses, and hardly regrows the rest,
since its gradients lie in the directions that clean data uses.

Source: Fine-Pruning (Liu et al., RAID 2018) prunes the neurons that clean data leaves dormant; the
same is done here to directions, as in SliceGPT (Ashkboos et al., ICLR 2024), and softly. Weight
decay shrinks likewise, but would need thousands of epochs at the rates of fine-tuning.
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
from prune_env.data.images import ImageDataset
from prune_env.evaluation.metrics import calibrated_threshold, margin
from prune_env.models import LoadedModel, find_heads, zero_heads
from prune_env.models.embeddings import token_embeddings
from prune_env.models.forward import classify
from prune_env.models.heads import linear_features, linear_weight
from prune_env.models.inputs import make_rows
from prune_env.models.masks import Mask
from prune_env.purification.unseen_tokens import settle_strangers
from prune_env.settings import FineTuneSettings
from prune_env.training.fine_tuning import fine_tune
from prune_env.utils.progress import progress
from prune_env.utils.runtime import use_bf16

log = logging.getLogger(__name__)

SENTENCES = 1000
"""Clean texts that inputs are collected on."""

BATCH = 32

STRENGTHS = tuple(0.01 * 2 ** (step / 6) for step in range(50))
"""Values of lambda that are tried, as multiples of the mean variance of a map's inputs."""

ROUNDS = 2
"""Refits, each followed by a fine-tuning."""

TRAINED = 2048
"""Texts that each fine-tuning reads at least; of few, each is read several times."""

LEARNING_RATE_SCALE = 2.0
"""Rate of each fine-tuning over that of the fine-tuning before: there is more to mend. At 2 it
gives more accuracy back and less of the backdoor; at 5 it diverges."""

MAX_DROP = 0.02
"""Validation accuracy (0 to 1) that a refit may lose before the fine-tuning that follows."""

MAX_DROP_SETTLED = 0.0
"""Validation accuracy (0 to 1) that settling strangers may lose: none. What it takes, the refit
lacks; where it cost half a point (Bible, seed 1), a point of test accuracy went for nothing."""


@dataclass(frozen=True)
class Refit:
    """What a refit did.

    Attributes:
        strength: lambda over the mean variance of a map's inputs; 0 where nothing was changed.
        kept: Squared norm of the weights over what it was before, the mean over the maps.
        accuracy: Validation accuracy (0 to 1) after it, calibrated where there are two classes.
        strangers: Tokens that were embedded as their neighbours before it.
    """

    strength: float
    kept: float
    accuracy: float
    strangers: int = 0


def refit_and_train(
    member: LoadedModel,
    *,
    mask: Mask,
    data: TextDataset,
    validation: TextDataset,
    settings: FineTuneSettings,
    seed: int = 0,
    folder: Path | None = None,
    on_refit: Callable[[Refit], None] = lambda _: None,
) -> None:
    """Refit a classifier to clean data and fine-tune it, `ROUNDS` times, in place.

    Before it, tokens that clean data does not hold are embedded as their neighbours, where that
    costs nothing.

    Args:
        member: The classifier, its pruned heads zeroed.
        mask: Bool (L, H), True = kept; pruned heads stay closed.
        data: Clean data to fit and to train on, labels in the order of the model's logits.
        validation: Clean data that accuracy is judged on, likewise.
        settings: Of each fine-tuning; epochs do not count, and the learning rate is scaled.
        seed: Of every draw.
        folder: Where TensorBoard events go, those of each fine-tuning in a folder of its own.
        on_refit: Called with what each refit did.
    """
    length = settings.max_length
    before = accuracy(member, validation, length)
    least = before - MAX_DROP
    strangers = _settle(
        member, data, validation, least=before - MAX_DROP_SETTLED, max_length=length
    )
    tuning = replace(
        settings,
        epochs=math.ceil(TRAINED / len(data)),
        learning_rate=LEARNING_RATE_SCALE * settings.learning_rate,
    )
    for number in range(ROUNDS):
        done = refit(member, data, validation, least=least, max_length=length, seed=seed)
        on_refit(replace(done, strangers=0 if number else strangers))
        zero_heads(member.model, mask)
        fine_tune(
            member.model,
            member.tokenizer,
            data,
            tuning,
            seed=seed + number,
            mask=mask,
            folder=None if folder is None else folder / f"refit-{number + 1}",
            description="Fine-tuning what is left",
        )


def _settle(
    member: LoadedModel,
    data: TextDataset,
    validation: TextDataset,
    *,
    least: float,
    max_length: int,
) -> int:
    """Settle strangers unless that costs too much accuracy; return their number."""
    if isinstance(data, ImageDataset):
        return 0
    table = token_embeddings(member.model)
    before = table.clone()
    settled = settle_strangers(member, data, max_length)
    if settled and accuracy(member, validation, max_length) < least:
        table.copy_(before)
        log.info("Tokens that clean data does not hold stay as they are: accuracy needs them")
        return 0
    if settled:
        log.info("%d tokens that clean data does not hold are read as their neighbours", settled)
    return settled


def refit(
    loaded: LoadedModel,
    train: TextDataset,
    validation: TextDataset,
    *,
    least: float,
    max_length: int = 128,
    seed: int = 0,
) -> Refit:
    """Refit the linear maps of every layer to clean data, in place.

    All maps are refitted with the same of `STRENGTHS`: the largest that validation accuracy
    allows, found by bisection.

    Args:
        loaded: A classifier of texts or images.
        train: Clean data whose inputs are fitted; labels do not count.
        validation: Clean data that accuracy is judged on, labels in the order of the logits.
        least: Validation accuracy (0 to 1) that must stay.
        max_length: Tokens kept of a text.
        seed: Of the draw of texts.

    Returns:
        What was done; nothing, where no strength leaves that accuracy.
    """
    with progress("Refitting to clean data", len(STRENGTHS)) as advance:
        maps = _measured(loaded, train, max_length, seed)

        def outcome(strength: float) -> Refit:
            kept = [each.fit(strength) for each in maps]
            return Refit(strength, float(np.mean(kept)), accuracy(loaded, validation, max_length))

        best: Refit | None = None
        low, high = 0, len(STRENGTHS)
        while low < high:
            middle = (low + high) // 2
            tried = outcome(STRENGTHS[middle])
            if tried.accuracy >= least:
                best, low = tried, middle + 1
            else:
                high = middle
            advance(len(STRENGTHS) - (high - low))
        if best is None:
            best = outcome(0.0)
        else:
            for each in maps:
                each.fit(best.strength)
    log.info(
        "Refitted with strength %.3g: %.0f %% of the squared weights stay",
        best.strength,
        100 * best.kept,
    )
    return best


def accuracy(loaded: LoadedModel, data: TextDataset, max_length: int) -> float:
    """Return the accuracy (0 to 1), of two classes at the calibrated threshold."""
    device = loaded.model.device
    with torch.autocast(device.type, torch.bfloat16, enabled=use_bf16("auto", device)):
        logits = classify(loaded.model, loaded.tokenizer, list(data.texts), max_length=max_length)
    if logits.shape[1] == 2:
        answers = margin(logits) > calibrated_threshold(logits, data.labels)
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
        """Refit the weights as they were; return the share of their squared norm that stays."""
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


def _measured(loaded: LoadedModel, train: TextDataset, max_length: int, seed: int) -> list[_Map]:
    """Return the linear maps of the layers, with the moments of what they read."""
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
