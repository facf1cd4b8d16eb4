"""What every agent of this package has in common: metrics, record, budget, saving and loading."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from prune_env.agents.checkpoint import Checkpoint, read_checkpoint, require_older, write_checkpoint
from prune_env.agents.features import BoolArray, as_batch
from prune_env.agents.record import Budget, EpisodeCallback, LearningRecord, asked_masks
from prune_env.env.arguments import whole_number
from prune_env.env.batch_core import BatchCore
from prune_env.env.known_rules import KnownRules
from prune_env.env.observation import DEFAULT_OBSERVATION, legal_actions, require_parts
from prune_env.env.policy import Observation, Requirements, no_variant
from prune_env.errors import DivergedError, SettingsError, StateError
from prune_env.utils.counts import count_of
from prune_env.utils.files import shaped

Tensors = dict[str, npt.NDArray[Any]]


class Agent(ABC):
    """A `Learner` that can be trained from a folder to a folder.

    Args:
        metrics: Names of the importance metrics in the observation, in its order.

    Attributes:
        reads: Parts of the observation that it needs.
        hyperparameters: How it learns, as plain values.
        record: Steps and episodes learned from so far, and the best of them.
        models: What tells the models and clean data apart that a training learns on, plain values
            that its checkpoints keep; None outside of one.
    """

    algorithm: ClassVar[str]
    """Name in `POLICIES`."""
    variants: ClassVar[tuple[str, ...]] = ("paper",)
    reads: tuple[str, ...] = DEFAULT_OBSERVATION
    hyperparameters: dict[str, Any]
    _rng: np.random.Generator
    _known_rules: KnownRules | None = None

    def __init__(self, metrics: tuple[str, ...]) -> None:
        self.metrics = metrics
        self.record = LearningRecord()
        self.models: dict[str, Any] | None = None
        self._budget: Budget | None = None
        self._asked: Tensors = {}

    @classmethod
    def requirements(cls, variant: str = "paper") -> Requirements:
        """Return what the agent requires of whoever runs it from end to end.

        Raises:
            SettingsError: The variant does not exist.
        """
        if variant not in cls.variants:
            raise no_variant(cls.__name__, variant, cls.variants)
        return Requirements()

    @classmethod
    @abstractmethod
    def for_env(
        cls,
        env: Any,
        *,
        seed: int = 0,
        variant: str = "paper",
        hyperparameters: Mapping[str, Any] | None = None,
    ) -> Self:
        """Make an agent for the importance metrics that an environment shows, and for its id.

        Args:
            env: The environment.
            seed: Of the agent.
            variant: See the class.
            hyperparameters: Changes to the algorithm's own, by name.

        Raises:
            SettingsError: A hyperparameter is unknown or out of range, or the environment does not
                show what the agent reads.
        """

    @classmethod  # noqa: B027 - one that has none to check need not say so
    def check_hyperparameters(cls, changes: Mapping[str, Any], env_id: str) -> None:
        """Refuse changes that `for_env` would refuse, before models and data are loaded.

        Args:
            changes: To the algorithm's own, by name.
            env_id: Of the environment.

        Raises:
            SettingsError: A name is unknown, or a value is out of range.
        """

    def player(self, seed: int) -> Self:
        """Return the agent as it is, with exploration of its own; what it learned is shared.

        Args:
            seed: Of the exploration, which nothing that others play then changes.
        """
        player = copy(self)
        player._rng = np.random.default_rng(seed)
        return player

    def check_shown(self, shown: object) -> None:
        """Refuse an observation, or a space of observations, that lacks what the agent reads.

        Raises:
            SettingsError: A part is missing.
        """
        require_parts(type(self).__name__, self.reads, shown)

    @property
    def best_mask(self) -> BoolArray | None:
        """Bool (L, H) that the best episode of `learn` left; None before the first."""
        return self.record.best_mask

    @property
    def best_return(self) -> float:
        """The total reward of the best episode; -inf before the first."""
        return self.record.best_return

    @abstractmethod
    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: Any = None,
    ) -> tuple[Any, Any]:
        """Choose the next head to prune, or STOP; see `prune_env.env.policy.Policy`."""

    @abstractmethod
    def learn(
        self,
        env: Any,
        *,
        total_steps: int,
        max_evaluations: int | None = None,
        callback: EpisodeCallback | None = None,
        save_to: str | Path | None = None,
        save_every: int = 5000,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> Self:
        """Play and learn until the agent has taken `total_steps` in its life.

        An agent that was saved by `save_to`, and loaded again, goes on exactly as if it had never
        stopped, on the same machine, versions and number of threads.

        Args:
            env: A single head-pruning environment.
            total_steps: Environment steps; what was begun when they run out is finished.
            max_evaluations: Masks that the environment's evaluators may compute during this call.
                An agent that was loaded goes on with the count that it was saved with, if they are
                `CountingEvaluator`s.
            callback: Called after each episode; returning False ends the learning.
            save_to: The agent's own folder; it is saved there at the end, and on the way.
            save_every: Steps between two saves at most; see `SaveTimes`.
            stop_requested: Asked now and then; True ends the learning.

        Raises:
            SettingsError: The environment shows other metrics than the agent's, or too little, or
                `max_evaluations` is below 1.
        """

    def save(self, folder: str | Path, *, weights_only: bool = False) -> None:
        """Write the agent, so that it can be played, or can go on learning, elsewhere.

        Args:
            folder: The agent's own folder; the newest two checkpoints in it are kept.
            weights_only: Leave out all that only learning needs: memory, optimiser, random states.

        Raises:
            StateError: The folder holds an agent that has taken more steps.
            DivergedError: A weight is NaN or Inf.
        """
        self.check_finite()
        spec, tensors = self._pack(weights_only=weights_only)
        if not weights_only:
            if self.models is not None:
                spec["models"] = self.models
            tensors |= self._asked if self._budget is None else self._budget.state()
            require_older(Path(folder), self.record.steps)
        checkpoint = Checkpoint(self.algorithm, self.record.steps, spec, tensors)
        write_checkpoint(Path(folder), checkpoint)

    def check_finite(self) -> None:
        """Refuse to go on with an agent whose learning left the numbers.

        Raises:
            DivergedError: A weight is NaN or Inf.
        """
        _, weights = self._pack(weights_only=True)
        spoilt = [name for name, value in weights.items() if not np.isfinite(value).all()]
        if spoilt:
            raise DivergedError(
                f"Learning diverged within {count_of(self.record.steps, 'step')}",
                expected="finite weights",
                actual=f"NaN or Inf in {', '.join(spoilt[:3])}",
                remedy="lower the learning rate; what was saved before is as it was",
            )

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return the agent of the newest whole checkpoint in a folder.

        Raises:
            StateError: There is none, or it is another algorithm's.
        """
        return cls.from_checkpoint(read_checkpoint(folder), folder)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, folder: str | Path) -> Self:
        """Return the agent of a checkpoint that was read from a folder, as `load` does.

        Raises:
            StateError: It is another algorithm's, or has not the shape of an agent.
        """
        if checkpoint.algorithm != cls.algorithm:
            raise StateError(
                f"The agent in {folder} is of another kind",
                expected=cls.algorithm,
                actual=checkpoint.algorithm,
                remedy="load it with prune_env.agents.load_agent",
            )
        with shaped(Path(folder), f"an agent of {cls.algorithm}", "train the agent again"):
            agent = cls._unpack(checkpoint)
            agent.record = LearningRecord.from_state(checkpoint.spec["record"])
        agent.models = checkpoint.spec.get("models")
        agent._asked = asked_masks(checkpoint.tensors)
        return agent

    @abstractmethod
    def _pack(self, *, weights_only: bool) -> tuple[dict[str, Any], Tensors]:
        """Return plain values, `metrics` and `record` among them, and arrays for a checkpoint."""

    @classmethod
    @abstractmethod
    def _unpack(cls, checkpoint: Checkpoint) -> Self:
        """Return the agent that `_pack` took apart, all but its record."""

    def _legal(self, batch: Observation, action_masks: Any) -> BoolArray:
        """Return what may be chosen in a batch, bool (N, L * H + 1)."""
        if action_masks is not None:
            return np.asarray(action_masks, bool).reshape(len(batch["mask"]), -1)
        known = self._known_rules
        return legal_actions(batch) if known is None else known.legal(batch)

    def _as_batch(self, observation: Any) -> tuple[Observation, bool]:
        """Return the observation with a batch dimension, and whether it lacked one.

        Raises:
            SettingsError: The observation has another number of importance metrics, or lacks a
                part.
        """
        self.check_shown(observation)
        batch, single = as_batch(observation)
        if batch["importance"].shape[3] != len(self.metrics):
            raise SettingsError(
                "The observation does not fit this agent",
                expected=f"{len(self.metrics)} importance metrics ({', '.join(self.metrics)})",
                actual=batch["importance"].shape[3],
                remedy="make the environment with the agent's metrics",
            )
        return batch, single

    def _begin_budget(self, core: BatchCore, max_evaluations: int | None) -> Budget:
        """Return the budget of a call of `learn`, which goes on from that of a checkpoint.

        From now on the record says if the reward that is learned from reads the trigger.
        """
        if max_evaluations is not None:
            max_evaluations = whole_number("max_evaluations", max_evaluations, 1)
        self.record.oracle |= core.reward.oracle
        self._known_rules = KnownRules(core)
        self._budget, self._asked = Budget(core.pool, max_evaluations, self._asked), {}
        return self._budget
