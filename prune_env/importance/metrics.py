"""The table of head metrics; naming them imports neither torch nor transformers."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prune_env.registry import Registry

if TYPE_CHECKING:
    from prune_env.importance.probe import Probe

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
METRICS.register(
    "distance",
    _ROOM + "weights:distance",
    help="how far fine-tuning moved the head's weights from the reference encoder",
)
