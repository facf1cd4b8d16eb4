"""What a learner sees of each head: the same few numbers for any count of layers and heads."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.env.observation import is_single
from prune_env.env.policy import Observation
from prune_env.errors import SettingsError

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
STATUS = 4


def as_batch(observation: Any) -> tuple[Observation, bool]:
    """Return the observation with a leading batch dimension, and whether it lacked one.

    Raises:
        SettingsError: Its parts are flat.
    """
    single = is_single(observation)
    batch = {
        key: np.asarray(value, np.float32)[None] if single else np.asarray(value, np.float32)
        for key, value in observation.items()
    }
    return batch, single


def check_metrics(own: Sequence[str], shown: Sequence[str]) -> None:
    """Refuse to learn from other importance metrics than an agent was made for.

    Args:
        own: Names of the agent's metrics.
        shown: Names of those that an environment shows.

    Raises:
        SettingsError: They differ, be it in their order.
    """
    if tuple(own) != tuple(shown):
        raise SettingsError(
            "The environment shows other importance metrics than the agent was made for",
            expected=", ".join(own),
            actual=", ".join(shown),
            remedy="make the environment with the agent's metrics, or another agent for it",
        )


def head_features(observation: Observation) -> FloatArray:
    """Describe every head of a batch by numbers that do not depend on the model's shape.

    Per head: each importance metric (compressed by a signed logarithm, so that one outlier does
    not rule), the depth of the layer in [0, 1], the share of its layer that is pruned, and the
    status of the episode (accuracy, margin to tau, share pruned, budget left). Magnitudes are
    of order 1; the margin is multiplied by 10, since a point of accuracy matters.

    Args:
        observation: With a batch dimension: mask (N, L, H), importance (N, L, H, M), status (N, 4).

    Returns:
        Float32 (N, L * H, M + 6).
    """
    mask, importance = observation["mask"], observation["importance"]
    count, layers, heads = mask.shape
    exists = existing_heads(observation)
    last_layer = np.maximum(exists.any(axis=2).sum(axis=1) - 1, 1)
    depth = np.minimum(np.arange(layers) / last_layer[:, None], 1)[..., None]
    pruned = 1 - mask.sum(axis=2) / np.maximum(exists.sum(axis=2), 1)
    features = np.empty((*mask.shape, importance.shape[3] + 2 + STATUS), np.float32)
    features[..., : -2 - STATUS] = _compress(importance)
    features[..., -2 - STATUS] = depth
    features[..., -1 - STATUS] = pruned[..., None]
    features[..., -STATUS:] = _status(observation)[:, None, None]
    return features.reshape(count, layers * heads, -1)


def existing_heads(observation: Observation) -> BoolArray:
    """Return which places of a batched observation hold a head, bool (N, L, H).

    Padding shows itself: it is not kept, and every one of its metrics is exactly 0.
    """
    present: BoolArray = (observation["mask"] > 0.5) | (observation["importance"] != 0).any(axis=3)
    return present


def pooled_features(observation: Observation) -> FloatArray:
    """Describe the whole state, for the value of STOP.

    Args:
        observation: With a batch dimension.

    Returns:
        Float32 (N, 2 * M + 4): the mean and the least importance over the kept heads, by metric
        (0 and the highest that there can be, if none is kept), and the status of the episode.
    """
    kept = observation["mask"][..., None] > 0.5
    importance = _compress(observation["importance"])
    count = np.maximum(kept.sum(axis=(1, 2)), 1).astype(np.float32)
    mean = importance.sum(axis=(1, 2), where=kept) / count
    least = importance.min(axis=(1, 2), where=kept, initial=np.float32(np.log1p(10.0)))
    return np.concatenate([mean, least, _status(observation)], axis=1)


def _compress(importance: FloatArray) -> FloatArray:
    compressed: FloatArray = np.sign(importance) * np.log1p(np.abs(importance))
    return compressed


def _status(observation: Observation) -> FloatArray:
    return observation["status"] * np.array([1, 10, 1, 1], np.float32)
