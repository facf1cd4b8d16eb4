"""The table of head metrics; naming them imports neither torch nor transformers."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prune_env.errors import MetricError, SettingsError
from prune_env.utils.registry import Registry

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from prune_env.data.dataset import TextDataset
    from prune_env.importance.probe import Probe


def head_importance(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    dataset: "TextDataset",
    metrics: Sequence[str],
    *,
    batch_size: int = 32,
    max_length: int = 128,
    max_sentences: int | None = None,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Return raw importance metrics of every head of a fine-tuned classifier.

    Metrics that need the same pass share it: one backward pass gives the gradients, one pass with
    attention maps gives variance and entropy, one series of dropout passes gives mean and spread;
    weight metrics read no data. The model runs on its own device and is left as it was: train or
    eval mode, gradients, `requires_grad`, hooks, attention implementation and random state.
    Gates that are attached to it stay in force, so a masked model is measured as masked.

    Args:
        model: Classifier whose heads are measured.
        tokenizer: Its tokenizer.
        dataset: Clean data; a defence may see nothing else.
        metrics: Names from `METRICS`, one column each.
        batch_size: Sentences per forward pass. It changes no metric but the dropout ones (through
            the random stream) and `key_gradient_released` (through rounding, its only content).
        max_length: Tokens kept of a sentence.
        max_sentences: Measure on this many sentences, drawn at random; None takes all.
        seed: Of the draw of sentences and of dropout.

    Returns:
        Float64 (L, H, M), finite, in the order of `metrics`; 0 where a head does not exist.

    Raises:
        UnknownNameError: A metric is not registered.
        UnsupportedModelError: The heads cannot be found, or the model gives no attention maps.
        SettingsError: A size is below 1, or a name is one of `UNIT_FEATURES`: heads are all alike.
        DataError: There is no sentence, or a label is outside the model's range.
        MetricError: A metric is undefined on this model, or is not finite.
    """
    _check_names(metrics)
    functions = {name: METRICS[name] for name in metrics}
    # Only here are torch and transformers needed: listing metrics stays cheap.
    from prune_env.importance.probe import Probe  # noqa: PLC0415

    probe = Probe(
        model,
        tokenizer,
        dataset,
        batch_size=batch_size,
        max_length=max_length,
        max_sentences=max_sentences,
        seed=seed,
    )
    result = np.zeros((*probe.heads.shape, len(metrics)))
    for column, name in enumerate(metrics):
        values = functions[name](probe)
        _check_values(name, values, probe.heads.shape)
        result[:, :, column] = values
    return result


def columns_of_units(metrics: Sequence[str]) -> list[str]:
    """Return the names that tell other units from heads: where all are heads, nothing has them."""
    return [name for name in metrics if name in UNIT_FEATURES and name not in METRICS]


def _check_names(metrics: Sequence[str]) -> None:
    # An agent that learned on other units reads these columns wherever it plays.
    if of_units := columns_of_units(metrics):
        raise SettingsError(
            "Heads alone are measured, and a column is asked for that tells other units from them",
            expected=f"some of {', '.join(METRICS.names())}",
            actual=", ".join(of_units),
            remedy="what learned on hybrid units plays them: `--units hybrid`, HybridPruning-v0",
        )


def _check_values(name: str, values: npt.NDArray[np.float64], shape: tuple[int, int]) -> None:
    if values.shape != shape or not np.isfinite(values).all():
        raise MetricError(
            f"Importance metric '{name}' is unusable on this model",
            expected=f"finite values of shape {shape}",
            actual=f"shape {values.shape}, {int((~np.isfinite(values)).sum())} not finite",
            remedy="check the model's weights for NaN or Inf",
        )


ImportanceMetric = Callable[["Probe"], npt.NDArray[np.float64]]
"""Takes the model under study, returns one raw number a head, float64 (L, H), finite.

Heads that do not exist (layers with fewer heads than the widest) get 0.
"""

METRICS: Registry[ImportanceMetric] = Registry("importance metric")
"""Importance metrics by name. A metric of your own is a function registered here."""

DEFAULT_METRICS = ("key_gradient", "gate_gradient", "cls_variance", "magnitude")
"""Columns of the environment's `observation["importance"]` unless others are asked for."""

_ROOM = "prune_env.importance."
METRICS.register(
    "key_gradient",
    _ROOM + "gradients:key_gradient",
    help="norm of the loss gradient on the head's key weights (the paper's equation)",
)
METRICS.register(
    "key_gradient_released",
    _ROOM + "gradients:key_gradient_released",
    help="what the published code computes instead: the layer's norm over the layer's sum",
)
METRICS.register(
    "gate_gradient",
    _ROOM + "gradients:gate_gradient",
    help="mean absolute gradient of the loss on the head's gate (Michel et al., 2019)",
)
METRICS.register(
    "cls_variance",
    _ROOM + "attention:cls_variance",
    help="variance of the [CLS] row of the attention map over the real tokens (PURE)",
)
METRICS.register(
    "cls_variance_released",
    _ROOM + "attention:cls_variance_released",
    help="the published code's [CLS] variance: 127 columns, padding zeros included",
)
METRICS.register(
    "attention_entropy",
    _ROOM + "attention:attention_entropy",
    help="mean entropy of the attention rows, in nats (low = focused head)",
)
METRICS.register(
    "dropout_mean",
    _ROOM + "dropout:dropout_mean",
    help="mean of the [CLS] variance over Monte-Carlo dropout passes",
)
METRICS.register(
    "dropout_spread",
    _ROOM + "dropout:dropout_spread",
    help="standard deviation of the [CLS] variance over Monte-Carlo dropout passes",
)
METRICS.register(
    "magnitude",
    _ROOM + "weights:magnitude",
    help="norm of the head's value and output weights",
)

UNIT_FEATURES = {
    "is_neurons": "1 for a group of feed-forward neurons, else 0",
    "is_map": "1 for a step of a map's strength, else 0",
    "step": "which step of the strength, from 1; else 0",
    "depth": "the layer",
}
"""Columns of the importance that say what a unit is, where units are more than heads."""

UNIT_METRICS = (*DEFAULT_METRICS, *UNIT_FEATURES)
"""Columns of `observation["importance"]` of hybrid pruning unless others are asked for."""
