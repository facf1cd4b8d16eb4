"""Metrics read off the attention maps, all from one pass over the clean data."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from prune_env.errors import UnsupportedModelError
from prune_env.importance.probe import LabelledBatch, Probe
from prune_env.models.heads import LayerHeads
from prune_env.models.inputs import real_tokens
from prune_env.models.quiet import quiet_transformers

RELEASED_COLUMNS = 127
"""The published code slices columns 0..126 out of maps that are padded to 128."""


def cls_variance(probe: Probe) -> npt.NDArray[np.float64]:
    """Variance of the attention that [CLS] pays, over the real tokens, averaged over sentences.

    For a row a over n real tokens: (sum a^2 - 1/n) / (n - 1); 0 where n = 1. Low = the head looks
    everywhere alike. In a causal model the row is that of the last real token, which is the one
    that the classifier reads.

    Source: PURE (Zhao et al., ICML 2024); padding is left out, so the value of a sentence does
    not depend on the batch that it is in.
    """
    return probe.once(_attention_pass).variance


def cls_variance_released(probe: Probe) -> npt.NDArray[np.float64]:
    """The [CLS] variance of the published code: over 127 columns, padding zeros included.

    The code flattens maps that are padded to 128 tokens and takes `[0:127]`. For n <= 127 real
    tokens that is (sum a^2 - 1/127) / 126 over the [CLS] row; of a longer one the first 127
    columns count.
    """
    return probe.once(_attention_pass).released


def attention_entropy(probe: Probe) -> npt.NDArray[np.float64]:
    """Entropy of the attention rows in nats: mean over a sentence's real rows, then sentences.

    Source: Clark et al., "What Does BERT Look At?" (2019), section 3.2. High = the head averages
    over many tokens.
    """
    return probe.once(_attention_pass).entropy


@dataclass(frozen=True)
class _AttentionMetrics:
    """Float64 (L, H) each."""

    variance: npt.NDArray[np.float64]
    released: npt.NDArray[np.float64]
    entropy: npt.NDArray[np.float64]


def _attention_pass(probe: Probe) -> _AttentionMetrics:
    sums = np.zeros((3, *probe.heads.shape))
    with probe.mode(train=False), attention_maps(probe.model), torch.no_grad():
        for batch in probe.batches("Measuring heads: attention"):
            for layer, attention in forward_maps(probe, batch):
                mask = real_tokens(batch.inputs, attention.shape[-1])
                row = summary_row(attention, mask)
                metrics = (
                    row_variance(row, mask),
                    _released_variance(row),
                    _row_entropy(attention, mask),
                )
                for total, values in zip(sums, metrics, strict=True):
                    mean = values.sum(0) / layer.calls
                    total[layer.index, : layer.num_heads] += mean.cpu().numpy()
    return _AttentionMetrics(*(sums / probe.sentences))


@contextmanager
def attention_maps(model: PreTrainedModel) -> Iterator[None]:
    """Make the model's forward return its attention maps while the body runs.

    Only eager attention has maps to return, so the implementation is switched and put back.

    Raises:
        UnsupportedModelError: The model cannot switch.
    """
    config = model.config
    implementation = config._attn_implementation
    # T5's encoder holds a copy of the configuration.
    parts = [part.config for part in model.modules() if isinstance(part, PreTrainedModel)]
    before = [part.output_attentions for part in parts]
    try:
        with quiet_transformers():  # it warns of CLIP's text tower, which is not there
            model.set_attn_implementation("eager")
        if config._attn_implementation != "eager":
            raise UnsupportedModelError(
                f"{type(model).__name__} gives no attention maps",
                expected="a model that can run eager attention",
                actual=config._attn_implementation,
                remedy="choose metrics that need none, such as key_gradient or magnitude",
            )
        for part in parts:
            part.output_attentions = True
        yield
    finally:
        for part, output in zip(parts, before, strict=True):
            part.output_attentions = output
        with quiet_transformers():
            model.set_attn_implementation(implementation)


def returned_maps(outputs: Any) -> tuple[torch.Tensor, ...]:
    """Return the attention maps (B, heads, n, n) in a model's outputs; T5's are its encoder's."""
    name = "encoder_attentions" if hasattr(outputs, "encoder_attentions") else "attentions"
    return getattr(outputs, name, None) or ()


def forward_maps(probe: Probe, batch: LabelledBatch) -> Iterator[tuple[LayerHeads, torch.Tensor]]:
    """Yield the attention maps (B, heads, n, n) of one batch, rows summing to 1, with their layer.

    To be called inside `attention_maps`. Columns of padding are 0. An attention module that
    several layers share comes once for each of them.

    Raises:
        UnsupportedModelError: The maps do not match the layers that were found.
    """
    layers = probe.heads.in_call_order
    maps = returned_maps(probe.model(**batch.inputs))
    if len(maps) != len(layers):
        raise UnsupportedModelError(
            f"{type(probe.model).__name__} returned other attention maps than it has layers",
            expected=f"{len(layers)} maps",
            actual=len(maps),
            remedy="choose metrics that need no maps, such as key_gradient or magnitude",
        )
    yield from zip(layers, maps, strict=True)


def summary_row(attention: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the row (B, heads, n) of the token that the classifier reads, as float64.

    That is the first real token, [CLS]; in a causal model, where no token sees a later one, the
    last real token.
    """
    first, last = mask.argmax(1), mask.shape[1] - 1 - mask.flip(1).argmax(1)
    looks_ahead = bool((attention.triu(1) * mask[:, None, :, None]).any())
    position = first if looks_ahead else last
    return attention[torch.arange(len(mask), device=mask.device), :, position].double()


def row_variance(row: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the sample variance (B, heads) of attention rows (B, heads, n) over real tokens."""
    real = mask.sum(1, keepdim=True)
    inside = row * mask[:, None]
    deviation = (row - inside.sum(2, keepdim=True) / real[:, None]) * mask[:, None]
    return deviation.square().sum(2) / (real - 1).clamp(min=1)


def _released_variance(row: torch.Tensor) -> torch.Tensor:
    columns = row[..., :RELEASED_COLUMNS]
    padded = torch.nn.functional.pad(columns, (0, RELEASED_COLUMNS - columns.shape[-1]))
    return padded.var(-1)


def _row_entropy(attention: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    rows = torch.special.entr(attention.double()).sum(-1)  # (B, heads, n)
    mean: torch.Tensor = (rows * mask[:, None]).sum(-1) / mask.sum(1, keepdim=True)
    return mean
