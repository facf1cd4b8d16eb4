"""What the algorithms of Stable-Baselines3 have in common as policies of this package."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from prune_env.agents.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from prune_env.agents.features import as_batch, check_metrics
from prune_env.agents.record import Budget, EpisodeCallback, Record, asked_masks
from prune_env.agents.sb3.hyperparameters import build_arguments, load_hyperparameters
from prune_env.agents.sb3.network import SetNetwork
from prune_env.agents.sb3.training_state import read_state, write_state
from prune_env.agents.sb3.vec_env import LegalVecEnv, PruneVecEnv
from prune_env.agents.sb3.watcher import Watcher
from prune_env.env.policy import Recipe
from prune_env.errors import SettingsError, StateError
from prune_env.importance import DEFAULT_METRICS
from prune_env.utils.files import shaped


class Paced:
    """Mixed into an algorithm: progress is the share of steps or of evaluations, whichever leads.

    Where masks are expensive, training ends when the evaluations run out, long before its steps
    do; learning rates and epsilon must have fallen by then.
    """

    budget: Budget | None = None

    def _update_current_progress_remaining(self: Any, taken: int, total: int) -> None:
        spent = self.budget.share_spent if self.budget is not None else 0.0
        self._current_progress_remaining = max(0.0, 1 - max(taken / total, spent))


class SB3Agent:
    """DQN, PPO, A2C and MaskablePPO, each with an algorithm of its own below it.

    The weights are those of one `SetNetwork`, so an agent plays models of any number of layers
    and heads, whatever it was trained on. The network knows what is legal, also for algorithms
    that know no masks: `learn` shows it the environment's own word, and so does `predict` if it is
    given the action masks or an observation with the part `legal`. From any other observation
    `predict` guesses what is legal, see `features.legal_actions`.

    Args:
        metrics: Names of the importance metrics in the observation, in its order.
        seed: Seeds the weights, the exploration and the episodes.
        hyperparameters: Changes to those of the algorithm's YAML file.
        env_id: Which section of that file to start from.

    Attributes:
        record: Steps and episodes learned from so far, and the best of them.
    """

    algorithm: ClassVar[str]
    """Name in `POLICIES`, and of the YAML file."""
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
        self.metrics = tuple(metrics)
        self.seed = seed
        self.hyperparameters = load_hyperparameters(
            self.algorithm, self.model_class, env_id, hyperparameters or {}
        )
        self.record = Record()
        self._rng = np.random.default_rng(seed)
        self._model: BaseAlgorithm | None = None
        self._env: gym.Env[Any, Any] | PruneVecEnv | None = None
        self._loaded: Checkpoint | None = None
        self._budget: Budget | None = None
        self._asked: dict[str, npt.NDArray[Any]] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = SetNetwork(len(self.metrics), self.hyperparameters["width"])

    @classmethod
    def recipe(cls, variant: str = "paper") -> Recipe:
        """Return how the agent is run from end to end; see `prune_env.training.phases`.

        Raises:
            SettingsError: Another variant than `paper`: the published code knows no such agent.
        """
        if variant != "paper":
            raise SettingsError(
                f"{cls.__name__} has no variant '{variant}'", expected="paper", actual=variant
            )
        return Recipe()

    @classmethod
    def for_env(cls, env: gym.Env[Any, Any] | PruneVecEnv, *, seed: int = 0, **kwargs: Any) -> Self:
        """Make an agent for the metrics that an environment shows, and for its id."""
        if isinstance(env, PruneVecEnv):
            return cls(env.get_attr("metrics")[0], seed=seed, **kwargs)
        env_id = env.spec.id if env.spec is not None else None
        return cls(env.get_wrapper_attr("metrics"), seed=seed, **{"env_id": env_id, **kwargs})

    @property
    def best_mask(self) -> npt.NDArray[np.bool_] | None:
        """Bool (L, H) that the best episode of `learn` left; None before the first."""
        return self.record.best_mask

    @property
    def best_return(self) -> float:
        """The total reward of the best episode; -inf before the first."""
        return self.record.best_return

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
        batch, single = as_batch(observation)
        if batch["importance"].shape[3] != len(self.metrics):
            raise SettingsError(
                "The observation does not fit this agent",
                expected=f"{len(self.metrics)} importance metrics ({', '.join(self.metrics)})",
                actual=batch["importance"].shape[3],
                remedy="make the environment with the agent's metrics",
            )
        if action_masks is not None:
            batch["legal"] = np.asarray(action_masks, np.float32).reshape(len(batch["mask"]), -1)
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
        """Play and learn until the agent has taken `total_steps` in its life.

        An agent that was saved by `save_to`, and loaded again, goes on exactly as if it had never
        stopped, on the same machine, versions and number of threads.

        Args:
            env: A single head-pruning environment, of which `num_envs` copies are played on the
                same model; or a `VecEnv`.
            total_steps: Environment steps; the last rollout may go beyond.
            max_evaluations: Masks that the environment's evaluators may compute during this call;
                the step in which they run out is finished in all of them. An agent that was loaded
                goes on with the count that it was saved with, if they are `CountingEvaluator`s.
            callback: Called after each episode; returning False ends the learning.
            save_to: The agent's own folder; it is saved there at the end, and on the way.
            save_every: Steps between two saves at most; see `SaveTimes`.
            stop_requested: Asked at the beginning of each rollout; True saves and ends.

        Raises:
            SettingsError: The environment shows other metrics than the agent's.
            StateError: The agent was saved in another environment, and cannot go on in this one.
        """
        model = self._prepare(env)
        budget = Budget(model.get_env().core.pool, max_evaluations, self._asked)
        self._budget, self._asked = budget, {}
        model.budget = budget
        watcher = Watcher(
            self.record,
            budget,
            callback,
            save=None if save_to is None else lambda: self.save(save_to),
            save_every=save_every,
            stop_requested=stop_requested,
        )
        steps = total_steps - self.record.steps
        if steps > 0 and budget.share_spent < 1:
            model.learn(steps, callback=watcher, log_interval=1, reset_num_timesteps=False)
        if save_to is not None and not watcher.stopped:
            self.save(save_to)
        return self

    def save(self, folder: str | Path, *, weights_only: bool = False) -> None:
        """Write the agent, so that it can be played, or can go on learning, elsewhere.

        Args:
            folder: The agent's own folder; the newest two checkpoints in it are kept.
            weights_only: Leave out optimiser, memory, random states and episodes: enough to play.
        """
        tensors: dict[str, npt.NDArray[Any]] = {
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
        if self._budget is not None and not weights_only:
            tensors |= self._budget.state()
        checkpoint = Checkpoint(self.algorithm, self.record.steps, spec, tensors)
        write_checkpoint(Path(folder), checkpoint)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return the agent of the newest whole checkpoint in a folder.

        Raises:
            StateError: There is none, or it is another algorithm's.
        """
        checkpoint = read_checkpoint(Path(folder))
        if checkpoint.algorithm != cls.algorithm:
            raise StateError(
                f"The agent in {folder} is of another kind",
                expected=cls.algorithm,
                actual=checkpoint.algorithm,
                remedy="load it with prune_env.agents.load_agent",
            )
        spec = checkpoint.spec
        with shaped(Path(folder), f"an agent of {cls.algorithm}", "train the agent again"):
            changes = dict(spec["hyperparameters"])
            agent = cls(checkpoint.metrics, seed=int(spec["seed"]), hyperparameters=changes)
            agent.record = Record.from_state(spec["record"])
            agent.network.load_state_dict(
                {
                    name.removeprefix("network."): torch.tensor(value)
                    for name, value in checkpoint.tensors.items()
                    if name.startswith("network.")
                }
            )
        agent._loaded = checkpoint
        agent._asked = asked_masks(checkpoint.tensors)
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
        if "legal" not in envs.observation_space.spaces:
            envs = LegalVecEnv(envs)
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
