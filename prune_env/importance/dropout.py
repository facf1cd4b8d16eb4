"""Metrics of Monte-Carlo dropout: what a head does while the network is perturbed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from prune_env.errors import MetricError
from prune_env.importance.attention import (
    attention_maps,
    forward_maps,
    row_variance,
    summary_row,
)
from prune_env.importance.probe import Probe
from prune_env.models.inputs import real_tokens

PASSES = 10
"""Stochastic passes a sentence, as many as the published code makes (with dropout off)."""


def dropout_mean(probe: Probe) -> npt.NDArray[np.float64]:
    """Mean over dropout passes and sentences of the [CLS] variance (see `cls_variance`).

    Source: the paper's Bayesian strategy, after Gal and Ghahramani (2016). Dropout is really on,
    also on the attention weights; `PASSES` passes, seeded.
    """
    return probe.once(_dropout_pass).mean


def dropout_spread(probe: Probe) -> npt.NDArray[np.float64]:
    """Uncertainty of a head: standard deviation of its [CLS] variance over dropout passes.

    Taken per sentence (unbiased, over `PASSES` passes) and averaged over sentences, so it is the
    model's uncertainty and not the variety of the data.

    Source: the paper's Bayesian strategy, after Gal and Ghahramani (2016).
    """
    return probe.once(_dropout_pass).spread


@dataclass(frozen=True)
class _DropoutMetrics:
    """Float64 (L, H) each."""

    mean: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]


def _dropout_pass(probe: Probe) -> _DropoutMetrics:
    device = probe.model.device
    devices = [device] if device.type == "cuda" else []
    mean, spread = np.zeros(probe.heads.shape), np.zeros(probe.heads.shape)
    with (
        torch.random.fork_rng(devices),
        probe.mode(train=True),
        attention_maps(probe.model),
        torch.no_grad(),
    ):
        torch.manual_seed(probe.seed)
        for batch in probe.batches("Measuring heads: dropout"):
            shape = (PASSES, len(batch.labels), *probe.heads.shape)
            scores = torch.zeros(shape, dtype=torch.float64, device=device)
            for scores_of_pass in scores:
                for layer, attention in forward_maps(probe, batch):
                    mask = real_tokens(batch.inputs, attention.shape[-1])
                    variance = row_variance(summary_row(attention, mask), mask)
                    scores_of_pass[:, layer.index, : layer.num_heads] += variance / layer.calls
            mean += scores.mean(0).sum(0).cpu().numpy()
            spread += scores.std(0).sum(0).cpu().numpy()
    if not spread.any():
        raise MetricError(
            "The dropout metrics are undefined on this model",
            expected="a dropout probability above 0 in the model's config",
            actual=f"{PASSES} equal passes",
            remedy="choose other metrics, or set hidden_dropout_prob in config.json",
        )
    return _DropoutMetrics(mean / probe.sentences, spread / probe.sentences)
