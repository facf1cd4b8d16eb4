"""What every fixed policy shares: the arguments, and `predict` over one observation or many."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from prune_env.env.known_rules import KnownRules
from prune_env.env.observation import is_single, legal_actions, require_parts
from prune_env.env.policy import Observation, Requirements, no_variant
from prune_env.errors import SettingsError
from prune_env.importance.registry import DEFAULT_METRICS

BoolArray = npt.NDArray[np.bool_]


class Baseline(ABC):
    """A fixed policy: it names the next head; the environment decides when the episode ends.

    Args:
        metrics: Names of the last axis of `observation["importance"]`, in order.
        variant: `paper` for the strategy as defined, `released` for what the published code does.
        seed: Of whatever is drawn at random; the policy is deterministic given the seed.

    Raises:
        SettingsError: The variant does not exist, or a metric that it reads is missing.

    Attributes:
        reads: Parts of the observation that it needs.
        reads_reward: Whether its mask may depend on the reward; False for fixed orders.
    """

    variants: ClassVar[tuple[str, ...]] = ("paper",)
    reads: ClassVar[tuple[str, ...]] = ("mask",)
    reads_reward: ClassVar[bool] = True
    _known_rules: KnownRules | None = None

    def __init__(
        self,
        metrics: Sequence[str] = DEFAULT_METRICS,
        *,
        variant: str = "paper",
        seed: int = 0,
    ) -> None:
        self.metrics = tuple(metrics)
        self.variant = variant
        self.seed = seed
        missing = [name for name in self.requirements(variant).metrics if name not in self.metrics]
        if missing:
            raise SettingsError(
                f"{type(self).__name__} reads importance metrics that the observation lacks",
                expected=", ".join(missing),
                actual=", ".join(self.metrics) or "none",
                remedy="name them in the environment's `metrics`",
            )

    @classmethod
    def requirements(cls, variant: str = "paper") -> Requirements:
        """Return what the strategy requires: metrics, threshold, fine-tunings.

        Raises:
            SettingsError: The variant does not exist.
        """
        if variant not in cls.variants:
            raise no_variant(cls.__name__, variant, cls.variants)
        return replace(cls._requirements(variant), reads_reward=cls.reads_reward)

    @classmethod
    def for_env(cls, env: Any, *, seed: int = 0, variant: str = "paper") -> Self:
        """Build the policy for an environment, whose metric names it takes over.

        Args:
            env: A `HeadPruningEnv`, wrapped or not, or its vector form.
            seed: See the class.
            variant: See the class.

        Raises:
            SettingsError: See the class; or the environment does not show what the policy reads.
        """
        require_parts(cls.__name__, cls.reads, env.observation_space)
        policy = cls(metrics=env.unwrapped.metrics, seed=seed, variant=variant)
        policy._known_rules = KnownRules.of(env)
        return policy

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: Any = None,
    ) -> tuple[npt.NDArray[np.int64], Any]:
        """Return the next head, or STOP where no legal head is left to prune.

        Args:
            observation: `mask` (L, H), and `importance` (L, H, M) for policies that read it, each
                with or without one leading batch dimension.
            state: Handed back unchanged: fixed policies read all they need off the observation.
            episode_start: Ignored.
            deterministic: Ignored: the only randomness is the seed's.
            action_masks: Bool (L * H + 1,), batched like the observation. Without it what the
                observation says of `legal`, or else the rules of the environment that it was built
                for; without one, every kept head that is not the last of its layer.

        Returns:
            Int64 action, a scalar array or (N,), and `state`.

        Raises:
            SettingsError: The observation does not fit the policy.
        """
        require_parts(type(self).__name__, self.reads, observation)
        single = is_single(observation)
        rows = {key: np.asarray(observation[key]) for key in observation}
        if single:
            rows = {key: value[None] for key, value in rows.items()}
        kept = rows["mask"] > 0.5
        if action_masks is None:
            known = self._known_rules
            action_masks = legal_actions(rows) if known is None else known.legal(rows)
        flat = np.asarray(action_masks, dtype=bool).reshape(len(kept), -1)
        legal = flat[:, :-1].reshape(kept.shape)
        actions = [
            self.choose({key: value[row] for key, value in rows.items()}, legal[row])
            if legal[row].any()
            else legal[row].size
            for row in range(len(kept))
        ]
        result = np.asarray(actions, dtype=np.int64)
        return (result[0:1].reshape(()) if single else result), state

    @abstractmethod
    def choose(self, observation: Observation, legal: BoolArray) -> int:
        """Return the action for one observation.

        Args:
            observation: Unbatched.
            legal: Bool (L, H) with at least one head that may be pruned.

        Returns:
            layer * H + head, or L * H to stop.
        """

    @classmethod
    @abstractmethod
    def _requirements(cls, variant: str) -> Requirements:
        """Return what a variant that exists requires."""
