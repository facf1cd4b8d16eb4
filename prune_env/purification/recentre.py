"""Taking out the preference for some classes that adversarial training leaves behind."""

import logging

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from prune_env.models import LoadedModel
from prune_env.models.forward import Floats, class_count
from prune_env.models.moments import Moments, Spectrum
from prune_env.purification.judge import Judge

log = logging.getLogger(__name__)

SHRINKAGE = 0.1
"""Of the covariance of what a head reads, over its mean variance. On SmolLM2, found on 128 texts,
the product with 1,821 others is 1.00 with a deviation of 0.04, whether this is 0.001 or 1."""

SLACK = 0.1
"""By how much, of their deviation, logits may differ from those of the states that a head reads:
searches ask in bf16."""


def recentre(loaded: LoadedModel, judge: Judge) -> Floats:
    """Make a classifier answer each class as often as it is the label, in place.

    The last bias is moved. Decoders have none: there the last weights change along what all texts
    have in common. On few rows only if they show a preference, see `Judge.shifts`.

    Args:
        loaded: A classifier.
        judge: Its answers to clean validation data.

    Returns:
        Its logits (N, C) on that data as they are then.
    """
    logits = judge.logits()
    shifts, head = judge.shifts(logits), _head(loaded)
    if head is None or not shifts.any():
        return logits
    bias: torch.Tensor | None = head.bias
    if bias is None:
        return _without_bias(head, judge, logits, shifts)
    with torch.no_grad():
        bias.sub_(torch.from_numpy(shifts).to(bias))
    return (logits - shifts).astype(np.float32)


def _head(loaded: LoadedModel) -> nn.Linear | None:
    """Return the last linear map with an output for each class; None, where there is none."""
    classes = class_count(loaded.model)
    heads = [
        module
        for module in loaded.model.modules()
        if isinstance(module, nn.Linear) and module.out_features == classes
    ]
    return heads[-1] if heads else None


def _without_bias(
    head: nn.Linear, judge: Judge, logits: Floats, shifts: npt.NDArray[np.float64]
) -> Floats:
    """Move the logits of a head without a bias; return those on the data as they are then."""
    states = judge.vectors()
    weight = head.weight.detach().float().cpu().numpy()
    told = states @ weight.T if states.shape[1] == weight.shape[1] else None
    if told is None or np.abs(told - logits).mean() > SLACK * logits.std():
        log.info("A head without a bias reads something unknown: what it prefers stays")
        return logits
    steady = _steady(torch.from_numpy(states))
    with torch.no_grad():
        head.weight.sub_(torch.outer(torch.from_numpy(shifts).float(), steady).to(head.weight))
    return judge.logits()


def _steady(states: torch.Tensor) -> torch.Tensor:
    """Return the vector (D,) whose product with states (N, D) is 1 in the mean, and varies least.

    As a portfolio of least variance: the inverse covariance, shrunk, times the mean.
    """
    moments = Moments(states.shape[1], states.device)
    moments.read(states, None)
    spectrum = Spectrum.of(moments, centred=True)
    along = spectrum.mean @ spectrum.directions
    steady = spectrum.directions @ (along / (spectrum.variances + SHRINKAGE * spectrum.scale))
    return steady / (steady @ spectrum.mean)
