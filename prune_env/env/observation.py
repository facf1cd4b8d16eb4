"""What a policy sees: the parts of the observation, by name."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from prune_env.env.episode import Episode
from prune_env.env.pool import Pool
from prune_env.env.subject import SCALE_LIMIT, split_names
from prune_env.errors import SettingsError
from prune_env.utils.registry import Registry, first_line

Array = npt.NDArray[np.float32]

DEFAULT_OBSERVATION = ("mask", "importance", "status")


class ObservationPart(ABC):
    """One entry of the `Dict` observation.

    Derive from it, and register the class under its name to use it in `gym.make`:
    `OBSERVATIONS.register("mine", Mine, help="...")`.

    Attributes:
        name: Key in the observation.
        source: Where the idea comes from.
    """

    name: ClassVar[str]
    source: ClassVar[str]

    @abstractmethod
    def space(self, pool: Pool) -> spaces.Space[Any]:
        """Return the space of this part, float32, for the grid and metrics of a pool."""

    @abstractmethod
    def build(self, episode: Episode) -> Array:
        """Return this part for the present state, in an array that nobody else holds."""


class MaskPart(ObservationPart):
    """Float32 (L, H): 1 = kept, 0 = pruned, or no such head."""

    name = "mask"
    source = "State of the sequential decision process, arXiv 2508.20032"

    def space(self, pool: Pool) -> spaces.Space[Any]:
        """Return the space of this part."""
        return spaces.Box(0, 1, pool.shape, np.float32)

    def build(self, episode: Episode) -> Array:
        """Return this part for the present state."""
        return episode.trial.astype(np.float32)


class ImportancePart(ObservationPart):
    """Float32 (L, H, M): every metric standardised over the model's heads, clipped to +-10."""

    name = "importance"
    source = "Head scores on clean data, arXiv 2508.20032; Michel et al., NeurIPS 2019"

    def space(self, pool: Pool) -> spaces.Space[Any]:
        """Return the space of this part."""
        shape = (*pool.shape, len(pool.metrics))
        return spaces.Box(-SCALE_LIMIT, SCALE_LIMIT, shape, np.float32)

    def build(self, episode: Episode) -> Array:
        """Return this part for the present state."""
        return episode.board.importance.copy()


class StatusPart(ObservationPart):
    """Float32 (4,): accuracy, its margin to tau, share of heads pruned, share of budget left."""

    name = "status"
    source = "The stopping rule of arXiv 2508.20032 (accuracy against tau)"

    def space(self, pool: Pool) -> spaces.Space[Any]:
        """Return the space of this part."""
        return spaces.Box(np.array([0, -1, 0, 0], np.float32), np.ones(4, np.float32))

    def build(self, episode: Episode) -> Array:
        """Return this part for the present state."""
        accuracy = episode.accuracy
        margin = accuracy - episode.tau
        return np.array([accuracy, margin, episode.share_pruned, episode.budget_left], np.float32)


class LegalPart(ObservationPart):
    """Float32 (L * H + 1,): 1 = the action is legal; for algorithms without action masks."""

    name = "legal"
    source = "Huang and Ontanon, A Closer Look at Invalid Action Masking, 2022"

    def space(self, pool: Pool) -> spaces.Space[Any]:
        """Return the space of this part."""
        return spaces.Box(0, 1, (pool.shape[0] * pool.shape[1] + 1,), np.float32)

    def build(self, episode: Episode) -> Array:
        """Return this part for the present state."""
        return episode.legal.astype(np.float32)


OBSERVATIONS: Registry[type[ObservationPart]] = Registry("observation")
"""Parts of the observation by name."""

for _part in (MaskPart, ImportancePart, StatusPart, LegalPart):
    OBSERVATIONS.register(_part.name, _part, help=first_line(_part.__doc__))


class FlatPart(ObservationPart):
    """A part as one vector: what Stable-Baselines3's checker asks of a `Box`.

    Args:
        part: What is laid out flat, the last axis fastest.
    """

    source = "Stable-Baselines3, custom environments: observations as 1D vectors"

    def __init__(self, part: ObservationPart) -> None:
        self.name = part.name  # type: ignore[misc]  # that of a class elsewhere
        self._part = part

    def space(self, pool: Pool) -> spaces.Space[Any]:
        """Return the space of this part."""
        return spaces.flatten_space(self._part.space(pool))

    def build(self, episode: Episode) -> Array:
        """Return this part for the present state."""
        return self._part.build(episode).ravel()


def flat_parts() -> SettingsError:
    """Return the error of a policy that is shown flat parts, and reads layers and heads."""
    return SettingsError(
        "This policy reads layers and heads, and the parts of the observation are flat",
        expected="mask (L, H) and importance (L, H, M)",
        remedy="make the environment with flat=False, or use a policy for vectors",
    )


def require_parts(reader: str, reads: Sequence[str], shown: object) -> None:
    """Refuse an observation that lacks a part which somebody reads.

    Args:
        reader: Who reads it, for the message.
        reads: Names of the parts.
        shown: The observation, or its space; what is no `Dict` has no parts.

    Raises:
        SettingsError: A part is missing.
    """
    parts = list(shown) if isinstance(shown, Mapping) else []
    missing = [name for name in reads if name not in parts]
    if missing:
        raise SettingsError(
            f"{reader} reads what the observation does not show: {', '.join(missing)}",
            expected=f"the parts {', '.join(reads)}",
            actual=", ".join(parts) or type(shown).__name__,
            remedy="leave `observation` out where the environment is made, or name them in it",
        )


def is_single(observation: Mapping[str, Any]) -> bool:
    """Return whether an observation is of one episode; False for a batch of them.

    Args:
        observation: With the part `mask`, as layers x heads.

    Raises:
        SettingsError: Its parts are flat.
    """
    axes = np.ndim(observation["mask"])
    if axes == 1 or ("importance" in observation and np.ndim(observation["importance"]) <= axes):
        raise flat_parts()
    return axes == 2


def make_observation(
    names: str | Sequence[str], *, flat: bool = False
) -> tuple[ObservationPart, ...]:
    """Return the parts of an observation.

    Args:
        names: Names, as a sequence or as one string with commas.
        flat: Lay each out as one vector.

    Raises:
        SettingsError: No part is named, or one is named twice.
        UnknownNameError: No part has this name.
    """
    names = split_names(names)
    if not names or len(set(names)) != len(names):
        raise SettingsError(
            "An observation names each of its parts once",
            expected=f"some of {', '.join(OBSERVATIONS.names())}",
            actual=", ".join(names) or "none",
        )
    parts = tuple(OBSERVATIONS[name]() for name in names)
    return tuple(FlatPart(part) for part in parts) if flat else parts


def legal_actions(observation: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """Return what a batched observation allows, for callers that have no action mask.

    Args:
        observation: With a batch dimension.

    Returns:
        Bool (N, L * H + 1): what the observation says if it has a part `legal`. Otherwise it is a
        guess, which is right in environments of `min_heads_per_layer=1` whose unpruned model is
        not below tau: a head is legal while it is kept and is not the last of its layer, and
        STOP, the last action, always is.
    """
    if "legal" in observation:
        return observation["legal"] > 0.5
    kept = observation["mask"] > 0.5
    heads = kept & (kept.sum(axis=2, keepdims=True) > 1)
    stop = np.ones((len(kept), 1), bool)
    return np.concatenate([heads.reshape(len(kept), -1), stop], axis=1)
