"""Pruning of feed-forward neurons that carry what inverted triggers do.

A head is a coarse knife: a backdoor also lives in some neurons of the lower layers. Which ones, a
trigger that was inverted on clean data tells: the neurons through which it moves the answer, and
through which the difference between clean texts of either class does not pass.

Source: Neural Cleanse prunes the neurons that an inverted trigger activates (Wang et al., S&P
2019); neurons are ranked here by attribution, activation times gradient (Dai et al., "Knowledge
Neurons in Pretrained Transformers", ACL 2022).
"""

import logging
from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from prune_env.errors import UnsupportedModelError
from prune_env.evaluation.metrics import calibrated_threshold
from prune_env.evaluation.suspect import Suspect
from prune_env.inversion.frames import Frame, in_one_of
from prune_env.inversion.trial import quick_margins
from prune_env.models import LoadedModel
from prune_env.models.forward import batches, in_precision
from prune_env.models.inputs import make_rows
from prune_env.models.neurons import LayerNeurons, find_neurons
from prune_env.utils.event_kinds import UnitsPruned
from prune_env.utils.events import emit

log = logging.getLogger(__name__)

SENTENCES = 256
"""Of either class, that neurons are measured on."""

STEP = 1 / 180
"""Share of the neurons that is pruned between two looks at the accuracy."""

MOST = 2
"""Steps at most."""

MAX_DROP = 0.005
"""Validation accuracy (0 to 1) that may be lost."""

OVERSHOOT = 0.1
"""How far triggers may speak against their class, in standard deviations of the margin."""


def margins_of(suspect: Suspect) -> tuple[npt.NDArray[np.float64], float]:
    """Return the margin of class 1 for each validation text (S,), and its calibrated threshold."""
    margins = quick_margins(suspect.loaded, suspect.validation.texts, suspect.max_length)
    logits = np.stack([np.zeros_like(margins), margins], axis=1)
    return margins, calibrated_threshold(logits, suspect.validation.labels)


def recentre(suspect: Suspect) -> float:
    """Move the last bias until class 1 is answered as often as it is the label, in place.

    Args:
        suspect: A classifier of two classes and its clean texts; the validation texts count.

    Returns:
        By how much the margin of class 1 was lowered; 0 where the last linear map has no bias.
    """
    biases = [
        module.bias
        for module in suspect.loaded.model.modules()
        if isinstance(module, nn.Linear) and module.out_features == 2
    ]
    bias = biases[-1] if biases else None
    if bias is None:
        log.info("The classifier has no bias: its margin is left as it is")
        return 0.0
    _, threshold = margins_of(suspect)
    with torch.no_grad():
        bias.add_(torch.tensor([0.5, -0.5], device=bias.device) * threshold)
    return threshold


def prune_neurons(
    suspect: Suspect,
    frames: Sequence[Frame],
    target: int,
    *,
    most: int = MOST,
    step: float = STEP,
    max_drop: float = MAX_DROP,
    seed: int = 0,
) -> int:
    """Set the neurons through which triggers act to zero, in place.

    Step by step, until the triggers speak against their class: what goes beyond would make a
    trigger of the other class out of them. A step that loses too much calibrated accuracy on clean
    validation data is taken back, and is the last.

    Args:
        suspect: The classifier and its clean texts of two classes.
        frames: Inverted triggers that flip to the target.
        target: The class that they flip to.
        most: Steps at most.
        step: Share of the neurons that each prunes.
        max_drop: Validation accuracy (0 to 1) that may be lost.
        seed: Of the draw of sentences and of triggers.

    Returns:
        Number of neurons pruned; 0 where the feed-forward networks are not found.
    """
    try:
        layers = find_neurons(suspect.loaded.model)
    except UnsupportedModelError as problem:
        log.warning("No neurons are pruned: %s", problem)
        return 0
    size = round(step * sum(layer.count for layer in layers))
    draw = np.random.default_rng(seed)
    least = _accuracy(suspect) - max_drop
    pruned = 0
    for _ in range(most if frames and size else 0):
        if _push(suspect, frames, target, draw) < -OVERSHOOT:
            break
        order = np.argsort(-_blame(suspect, layers, frames, target, draw), kind="stable")
        before = [layer.weight().clone() for layer in layers]
        _zero(layers, order[:size])
        if _accuracy(suspect) < least:
            with torch.no_grad():
                for layer, weight in zip(layers, before, strict=True):
                    layer.weight().copy_(weight)
            break
        pruned += size
    log.info("%d of %d neurons pruned", pruned, sum(layer.count for layer in layers))
    silent = [int((~layer.weight().any(dim=0)).sum()) for layer in layers]
    emit(UnitsPruned(pruned=silent, total=[layer.count for layer in layers]))
    return pruned


def _push(
    suspect: Suspect, frames: Sequence[Frame], target: int, draw: np.random.Generator
) -> float:
    """Return how far triggers move the margin to their target, in standard deviations."""
    rows = draw.permutation(len(suspect.train))[:SENTENCES]
    plain = [suspect.train.texts[row] for row in rows]
    framed = [in_one_of(frames, text, draw) for text in plain]
    without, with_trigger = (
        quick_margins(suspect.loaded, each, suspect.max_length) for each in (plain, framed)
    )
    moved = float(np.mean(with_trigger - without)) / max(float(np.std(without)), 1e-12)
    return moved if target else -moved


def _blame(
    suspect: Suspect,
    layers: Sequence[LayerNeurons],
    frames: Sequence[Frame],
    target: int,
    draw: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Return how much more of a trigger's effect than of a class's passes through each neuron."""
    of_class = [
        [suspect.train.texts[row] for row in draw.permutation(rows)[:SENTENCES]]
        for rows in (np.flatnonzero(suspect.train.labels == label) for label in (0, 1))
    ]
    plain = of_class[1 - target]
    framed = [in_one_of(frames, text, draw) for text in plain]
    with_trigger, without, of_target = (
        attribution(suspect.loaded, layers, each, suspect.max_length)
        for each in (framed, plain, of_class[target])
    )
    sign = 1 if target else -1
    return sign * (with_trigger - without) - np.abs(of_target - without)


def attribution(
    loaded: LoadedModel, layers: Sequence[LayerNeurons], texts: Sequence[str], max_length: int
) -> npt.NDArray[np.float64]:
    """Return the mean activation times gradient of the margin of class 1, all layers in a row.

    Args:
        loaded: A classifier of two classes.
        layers: Its neurons.
        texts: Sentences to take the mean over.
        max_length: Tokens kept of a sentence.

    Returns:
        Float64 (N,): the first layer's neurons, then the second's.
    """
    model = loaded.model.eval()
    samples = make_rows(texts, loaded.tokenizer, max_length)
    gates = [torch.ones(layer.count, device=model.device, requires_grad=True) for layer in layers]
    hooks = [
        layer.module.register_forward_pre_hook(lambda _, args, gate=gate: (args[0] * gate,))
        for layer, gate in zip(layers, gates, strict=True)
    ]
    try:
        for batch in batches(samples, model.device):
            with in_precision(model, "auto"):
                logits = model(**batch.inputs).logits.float()
            # The gradient at an open gate is the sum over tokens of activation times gradient.
            (logits[:, 1] - logits[:, 0]).sum().backward(inputs=gates)
    finally:
        for hook in hooks:
            hook.remove()
    blame = torch.cat([cast(torch.Tensor, gate.grad) for gate in gates])
    return blame.double().cpu().numpy() / len(texts)


def _zero(layers: Sequence[LayerNeurons], chosen: npt.NDArray[np.int64]) -> None:
    """Set neurons to zero, counted through all layers."""
    ends = np.cumsum([layer.count for layer in layers])
    with torch.no_grad():
        for layer, end in zip(layers, ends, strict=True):
            own = chosen[(chosen >= end - layer.count) & (chosen < end)] - (end - layer.count)
            layer.weight()[:, torch.from_numpy(own)] = 0


def _accuracy(suspect: Suspect) -> float:
    """Return the validation accuracy, 0 to 1, at the calibrated threshold."""
    margins, threshold = margins_of(suspect)
    return float(((margins > threshold) == suspect.validation.labels).mean())
