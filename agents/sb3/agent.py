"""What the algorithms of Stable-Baselines3 have in common as policies of this package."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from prune_env.agents.agent import Agent, Tensors
from prune_env.agents.checkpoint import Checkpoint
from prune_env.agents.features import check_metrics
from prune_env.agents.record import Budget, EpisodeCallback
from prune_env.agents.sb3.hyperparameters import build_arguments, load_hyperparameters
from prune_env.agents.sb3.network import SetNetwork
from prune_env.agents.sb3.training_state import read_state, write_state
from prune_env.agents.sb3.vec_env import LegalVecEnv, PruneVecEnv
from prune_env.agents.sb3.watcher import Watcher
from prune_env.env.known_rules import KnownRules
from prune_env.importance import DEFAULT_METRICS
from prune_env.utils.files import shaped

log = logging.getLogger(__name__)


class Paced:
    """Mixed into an algorithm: progress is the share of steps or of evaluations, whichever leads.

    Where masks are expensive, training ends when the evaluations run out, long before its steps
    do; learning rates and epsilon must have fallen by then.
    """

    budget: Budget | None = None

    def _update_current_progress_remaining(self: Any, taken: int, total: int) -> None:
        spent = self.budget.share_spent if self.budget is not None else 0.0
        self._current_progress_remaining = max(0.0, 1 - max(taken / total, spent))


def _alike(model: BaseAlgorithm, envs: Any) -> bool:
    """Whether what an algorithm remembers fits these environments."""
    return bool(
        envs.num_envs == model.n_envs
        and envs.observation_space == model.observation_space
        and envs.action_space == model.action_space
    )


class SB3Agent(Agent):
    """DQN, PPO, A2C and MaskablePPO, each with an algorithm of its own below it.

    The weights are those of one `SetNetwork`, so an agent plays models of any number of layers
    and heads, whatever it was trained on. The network knows what is legal, also for algorithms
    that know no masks: `learn` shows it the environment's own word, and so does `predict` if it is
    given the action masks or an observation with the part `legal`. From any other observation
    `predict` tells it by the rules of the environment that the agent was made for or learned in,
    and guesses it for one that was loaded, see `env.observation.legal_actions`.

    Args:
        metrics: Names of the importance metrics in the observation, in its order.
        seed: Seeds the weights, the exploration and the episodes.
        hyperparameters: Changes to those of the algorithm's YAML file.
        env_id: Which section of that file to start from.

    Attributes:
        record: Steps and episodes learned from so far, and the best of them.
    """

    model_class: ClassVar[type[BaseAlgorithm]]
    policy_class: ClassVar[type[Any]]

    def __init__(
        self,
        metrics: Sequence[str] = DEFAULT_METRICS,
        *,
        seed: int = 0,
        hyperparameters: Mapping[str, Any] | None = None,
        env_id: str | None = None,
    ) -> None:
        super().__init__(tuple(metrics))
        self.seed = seed
        self.hyperparameters = load_hyperparameters(
            self.algorithm, self.model_class, env_id, hyperparameters or {}
        )
        self._rng = np.random.default_rng(seed)
        self._model: BaseAlgorithm | None = None
        self._env: gym.Env[Any, Any] | PruneVecEnv | None = None
        self._loaded: Checkpoint | None = None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = SetNetwork(len(self.metrics), self.hyperparameters["width"])

    @classmethod
    def check_hyperparameters(cls, changes: Mapping[str, Any], env_id: str) -> None:
        """Refuse what `for_env` would refuse; see `Agent.check_hyperparameters`."""
        load_hyperparameters(cls.algorithm, cls.model_class, env_id, changes)

    @classmethod
    def for_env(
        cls,
        env: gym.Env[Any, Any] | PruneVecEnv,
        *,
        seed: int = 0,
        variant: str = "paper",
        hyperparameters: Mapping[str, Any] | None = None,
    ) -> Self:
        """Make an agent for the metrics that an environment shows, and for its id."""
        cls.requirements(variant)  # raises where there is no such variant
        if isinstance(env, PruneVecEnv):
            agent = cls(env.get_attr("metrics")[0], seed=seed, hyperparameters=hyperparameters)
        else:
            agent = cls(
                env.get_wrapper_attr("metrics"),
                seed=seed,
                hyperparameters=hyperparameters,
                env_id=env.spec.id if env.spec is not None else None,
            )
        agent.check_shown(env.observation_space)
        agent._known_rules = KnownRules.of(env)
        return agent

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: Any = None,
    ) -> tuple[Any, Any]:
        """Choose the next head to prune, or STOP; see `prune_env.env.policy.Policy`.

        Raises:
            SettingsError: The observation has another number of importance metrics.
        """
        batch, single = self._as_batch(observation)
        batch["legal"] = self._legal(batch, action_masks).astype(np.float32)
        with torch.no_grad():
            logits, _ = self.network({key: torch.tensor(value) for key, value in batch.items()})
        scores = logits.double().numpy()
        if action_masks is not None:
            scores[~np.asarray(action_masks, bool).reshape(scores.shape)] = -np.inf
        if not deterministic:
            scores = self._perturb(scores)
        actions = scores.argmax(axis=1)
        return (actions[0] if single else actions), state

    def learn(
        self,
        env: gym.Env[Any, Any] | PruneVecEnv,
        *,
        total_steps: int,
        max_evaluations: int | None = None,
        callback: EpisodeCallback | None = None,
        save_to: str | Path | None = None,
        save_every: int = 5000,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> Self:
        """Play and learn until the agent has taken `total_steps` in its life; see `Agent.learn`.

        `env` is a single head-pruning environment, of which `num_envs` copies are played on the
        same model, or a `PruneVecEnv`. In another environment than before, of the same spaces,
        memory and optimiser stay; of other spaces, the weights alone. The last rollout may go
        beyond the steps; the step in which the evaluations run out is finished in all episodes;
        `stop_requested` is asked at the beginning of each rollout.

        Raises:
            SettingsError: The environment shows other metrics than the agent's, or not all parts
                of the observation.
            StateError: The agent was saved in another environment, and cannot go on in this one.
            DivergedError: A weight became NaN or Inf.
        """
        model = self._prepare(env)
        budget = model.budget = self._begin_budget(model.get_env().core, max_evaluations)
        watcher = Watcher(
            self.record,
            budget,
            callback,
            save=None if save_to is None else lambda: self.save(save_to),
            save_every=save_every,
            stop_requested=stop_requested,
        )
        steps = total_steps - self.record.steps
        first = self.hyperparameters.get("learning_starts", 0)  # DQN's
        if steps > 0 and total_steps <= first:
            log.warning(
                "Of %d steps nothing is learned: the first %d only fill the memory. Take more "
                "steps, or lower learning_starts",
                total_steps,
                first,
            )
        if steps > 0 and budget.share_spent < 1:
            model.set_logger(watcher.logger_of_figures())
            try:
                model.learn(steps, callback=watcher, log_interval=1, reset_num_timesteps=False)
            except (ValueError, RuntimeError):  # what torch's distributions say of NaN
                self.check_finite()
                raise
        if save_to is not None and not watcher.stopped:
            self.save(save_to)
        return self

    def _pack(self, *, weights_only: bool) -> tuple[dict[str, Any], Tensors]:
        tensors: Tensors = {
            f"network.{name}": value.detach().numpy()
            for name, value in self.network.state_dict().items()
        }
        spec: dict[str, Any] = {
            "metrics": list(self.metrics),
            "seed": self.seed,
            "hyperparameters": self.hyperparameters,
            "record": self.record.state(),
            "training": None,
        }
        if self._model is not None and not weights_only:
            spec["training"], more = write_state(self._model)
            tensors |= more
        elif self._loaded is not None and not weights_only:  # it has not learned since
            spec["training"] = self._loaded.spec.get("training")
            tensors = {**self._loaded.tensors, **tensors}
        return spec, tensors

    @classmethod
    def _unpack(cls, checkpoint: Checkpoint) -> Self:
        spec = checkpoint.spec
        changes = dict(spec["hyperparameters"])
        agent = cls(checkpoint.metrics, seed=int(spec["seed"]), hyperparameters=changes)
        agent.network.load_state_dict(
            {
                name.removeprefix("network."): torch.tensor(value)
                for name, value in checkpoint.tensors.items()
                if name.startswith("network.")
            }
        )
        agent._loaded = checkpoint
        return agent

    def _perturb(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Make the highest score a draw from the softmax (Gumbel's trick)."""
        noisy: npt.NDArray[np.float64] = scores + self._rng.gumbel(size=scores.shape)
        return noisy

    def _prepare(self, env: gym.Env[Any, Any] | PruneVecEnv) -> Any:
        """Return the algorithm over an environment, with the agent's weights and state."""
        if self._model is not None and self._env is env:
            envs: Any = self._model.get_env()
            # A callback may have ended the last rollout before its observation was noted.
            self._model._last_obs = envs.observe()
            self._model._last_episode_starts = envs.episode_starts()
            return self._model
        if isinstance(env, PruneVecEnv):
            envs = env
        else:
            envs = PruneVecEnv.beside(env, self.hyperparameters["num_envs"])
        check_metrics(self.metrics, envs.core.pool.metrics)
        self.check_shown(envs.observation_space)
        if "legal" not in envs.observation_space.spaces:
            envs = LegalVecEnv(envs)
        if self._model is not None and _alike(self._model, envs):
            # As `set_env` has it: memory and optimiser stay, and the episodes begin anew.
            self._model.set_env(envs, force_reset=True)
            envs.seed(self.seed)
            self._env = env
            return self._model
        model: Any = self.model_class(
            self.policy_class,
            envs,
            seed=self.seed,
            device="cpu",
            policy_kwargs={"width": self.hyperparameters["width"]},
            **build_arguments(self.hyperparameters),
        )
        weights = self.network.state_dict()
        for part in self._networks(model):
            part.load_state_dict(weights)
        model.num_timesteps = self.record.steps
        if self._loaded is not None and self._loaded.spec.get("training") is not None:
            with shaped(Path("agent"), "what a training goes on from", "train the agent again"):
                read_state(model, self._loaded.spec["training"], self._loaded.tensors)
        self._loaded = None
        self._model, self._env = model, env
        self.network = self._networks(model)[0]
        return model

    def _networks(self, model: Any) -> list[SetNetwork]:
        """Return the network that learns, then any copies of it."""
        return [model.policy.features_extractor.network]
