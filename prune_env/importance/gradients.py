"""Metrics of the loss gradient, all from one backward pass over the clean data."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy

from prune_env.errors import DataError, ModelError
from prune_env.importance.probe import LabelledBatch, Probe
from prune_env.models.gates import HeadGates


def key_gradient(probe: Probe) -> npt.NDArray[np.float64]:
    """Norm of dL/dW_K over the rows of each head, L being the mean cross-entropy of all sentences.

    The gradients of the batches are added up, each weighted by its sentences, before the norm is
    taken: the value belongs to the data set and does not depend on the batch size. Query heads
    that share a key head share its norm. Low = the loss is insensitive to where the head looks.

    Source: the paper's gradient-based strategy (norm of dL/dW_K of each head on clean data).
    """
    return probe.once(_gradient_pass).key


def key_gradient_released(probe: Probe) -> npt.NDArray[np.float64]:
    """What the published code makes of the key gradient: 1 / H for every head, but for rounding.

    For every head it adds up, batch by batch, the norm of the *whole layer's* key gradient, and
    divides by the layer's sum. It computes in float32, whose rounding is all that tells layers
    apart; within a layer all heads are equal.
    """
    return probe.once(_gradient_pass).released


def gate_gradient(probe: Probe) -> npt.NDArray[np.float64]:
    """Mean over sentences of |dL/dgate|, L being the cross-entropy of one sentence.

    The gate is a factor on the head's output. Low = removing the head hardly moves the loss.

    Source: Michel et al., "Are Sixteen Heads Really Better than One?" (2019), equation 2, without
    the normalisation by layer that they add for some models.
    """
    return probe.once(_gradient_pass).gate


@dataclass(frozen=True)
class _GradientMetrics:
    """Float64 (L, H) each."""

    key: npt.NDArray[np.float64]
    released: npt.NDArray[np.float64]
    gate: npt.NDArray[np.float64]


def _gradient_pass(probe: Probe) -> _GradientMetrics:
    layers = probe.heads.layers
    gate_total = np.zeros(probe.heads.shape)
    key_total = [torch.zeros_like(layer.key.weight(), dtype=torch.float64) for layer in layers]
    layer_norms = np.zeros(len(layers), dtype=np.float32)
    with (
        probe.mode(train=False),
        _fresh_gradients(probe) as parameters,
        HeadGates(probe.model, probe.heads) as gates,
        torch.enable_grad(),
    ):
        for batch in probe.batches("Measuring heads: gradients"):
            gate = torch.ones(
                (len(batch.labels), *probe.heads.shape),
                device=probe.model.device,
                requires_grad=True,
            )
            gates.set(gate)
            loss = batch_loss(probe, batch)
            loss.backward(inputs=[*parameters, gate])
            assert gate.grad is not None
            gate_total += gate.grad.abs().sum(0).double().cpu().numpy()
            for index, layer in enumerate(layers):
                gradient = layer.key.grad()
                assert gradient is not None
                key_total[index] += gradient
                layer_norms[index] += gradient.norm().item() / len(batch.labels)
            for parameter in parameters:
                parameter.grad = None

    key = np.zeros(probe.heads.shape)
    released = np.zeros(probe.heads.shape)
    for index, layer in enumerate(layers):
        by_head = (key_total[index] / probe.sentences).unflatten(0, (layer.kv_heads, -1))
        norms = by_head.flatten(1).norm(dim=1).cpu().numpy()
        shared = [layer.kv_head(head) for head in range(layer.num_heads)]
        key[index, : layer.num_heads] = norms[shared]
        scores = np.full(layer.num_heads, layer_norms[index])
        if layer_norms[index] > 0:
            released[index, : layer.num_heads] = scores / scores.sum()
    return _GradientMetrics(key, released, gate_total / probe.sentences)


def batch_loss(probe: Probe, batch: LabelledBatch) -> torch.Tensor:
    """Return the summed cross-entropy of a batch.

    Raises:
        ModelError: The model has no classification head.
        DataError: A label is outside the model's range.
    """
    logits = getattr(probe.model(**batch.inputs), "logits", None)
    if logits is None or logits.ndim != 2:
        raise ModelError(
            f"{type(probe.model).__name__} has no classification head to take a loss from",
            expected="a sequence classifier",
            remedy="fine-tune it first, or choose metrics without a loss, such as cls_variance",
        )
    if int(batch.labels.max()) >= logits.shape[1] or int(batch.labels.min()) < 0:
        raise DataError(
            "A label is outside the model's range",
            expected=f"0 to {logits.shape[1] - 1}",
            actual=sorted(set(batch.labels.tolist())),
            remedy="check the label column, or load the model with more labels",
        )
    return cross_entropy(logits.float(), batch.labels, reduction="sum")


@contextmanager
def _fresh_gradients(probe: Probe) -> Iterator[list[torch.nn.Parameter]]:
    """Yield the parameters that hold the key weights, ready for backward; put them back after."""
    modules = dict.fromkeys(layer.key.module for layer in probe.heads.layers)
    parameters = [parameter for module in modules for parameter in _weight(module)]
    before = [(parameter, parameter.grad, parameter.requires_grad) for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.grad = None
            parameter.requires_grad_(True)
        yield parameters
    finally:
        for parameter, gradient, requires_grad in before:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient


def _weight(module: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    return (parameter for name, parameter in module.named_parameters() if name == "weight")
