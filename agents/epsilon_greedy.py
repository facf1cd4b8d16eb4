"""Epsilon-greedy head pruning over action values that are learned while it prunes."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from prune_env.agents.action_values import ActionValues
from prune_env.agents.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from prune_env.agents.features import BoolArray, FloatArray, as_batch, legal_actions
from prune_env.agents.released import ReleasedRule
from prune_env.errors import SettingsError, StateError
from prune_env.importance import DEFAULT_METRICS
from prune_env.policy import Observation

ALGORITHM = "epsilon-greedy"


@dataclass(frozen=True)
class EpsilonGreedySettings:
    """How `EpsilonGreedy` explores and learns.

    The defaults were tuned on six synthetic landscapes at a budget of 400 mask evaluations: a
    small network, several updates a step, little exploration.

    Attributes:
        epsilon_start: Share of random actions at the first step.
        epsilon_end: Share of random actions once the schedule has ended.
        epsilon_share: Share of all steps over which epsilon falls linearly.
        trace: Lambda of the returns: 0 trusts the learned value of the next state, 1 only what
            the episode really paid.
        discount: Weight of the next step's value; 1 because episodes are short and end.
        hidden: Width of the value networks.
        learning_rate: Step size of Adam.
        batch_size: Remembered actions in one update.
        updates_per_step: Updates for each step taken.
        memory: Number of latest returns that are remembered.
    """

    epsilon_start: float = 0.3
    epsilon_end: float = 0.05
    epsilon_share: float = 0.5
    trace: float = 0.6
    discount: float = 1.0
    hidden: int = 16
    learning_rate: float = 1e-3
    batch_size: int = 64
    updates_per_step: int = 4
    memory: int = 10_000

    def __post_init__(self) -> None:
        for name in ("epsilon_start", "epsilon_end", "epsilon_share", "trace", "discount"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise SettingsError(f"{name} is a share", expected="0 to 1", actual=value)
        for name in ("hidden", "learning_rate", "batch_size", "updates_per_step", "memory"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} must be positive", actual=getattr(self, name))

    def epsilon(self, progress: float) -> float:
        """Return the share of random actions when `progress` (0 to 1) of all steps are taken."""
        fallen = min(progress / self.epsilon_share, 1.0) if self.epsilon_share else 1.0
        return self.epsilon_start + fallen * (self.epsilon_end - self.epsilon_start)


@dataclass(frozen=True)
class Episode:
    """What a callback of `EpsilonGreedy.learn` is told after each episode.

    Attributes:
        number: Counted from 1.
        steps: Environment steps taken so far, over all episodes.
        length: Steps of this episode.
        total_reward: Undiscounted sum of the episode's rewards.
        epsilon: Exploration at its end.
        loss: Mean squared error of the values, as a share of the largest return's square.
        mask: Bool (L, H), True = kept: the mask that the episode left.
        info: The environment's last info.
    """

    number: int
    steps: int
    length: int
    total_reward: float
    epsilon: float
    loss: float
    mask: BoolArray
    info: dict[str, Any]


class EpsilonGreedy:
    """The paper's sequential decision process, made real: it learns what pruning a head is worth.

    In every state the agent prunes the legal head of the highest action value, or stops if STOP
    is worth more; with probability epsilon it takes a random legal action instead. `ActionValues`
    are learned from lambda-returns (Peng and Williams, 1996), computed backwards after each
    episode. Nothing depends on the number of layers and heads, so one agent serves any model.

    Source: "Pruning Strategies for Backdoor Defense in LLMs" (arXiv 2508.20032), reinforcement
    learning strategy. The paper names an epsilon-greedy agent, but neither its reward nor how it
    learns; the reward here is the environment's.

    Args:
        metrics: Names of the importance metrics in the observation, in its order.
        settings: Exploration and learning.
        seed: Seeds the weights, the exploration and the episodes of `learn`.
        variant: `"paper"`, or `"released"` for the loop of the published code, which takes the
            heads of lowest [CLS] variance with random groups mixed in and learns nothing
            (see `ReleasedRule`).

    Attributes:
        steps: Environment steps learned from so far.
        best_mask: Bool (L, H) that the best episode of `learn` left; None before the first.
        best_return: The total reward of that episode.
    """

    def __init__(
        self,
        metrics: Sequence[str] = DEFAULT_METRICS,
        *,
        settings: EpsilonGreedySettings | None = None,
        seed: int = 0,
        variant: Literal["paper", "released"] = "paper",
    ) -> None:
        if variant not in ("paper", "released"):
            raise SettingsError(
                "variant of EpsilonGreedy", expected="'paper' or 'released'", actual=variant
            )
        self.metrics = tuple(metrics)
        self.settings = settings or EpsilonGreedySettings()
        self.variant = variant
        self.steps = 0
        self.episodes = 0
        self.epsilon = self.settings.epsilon_start
        self.best_mask: BoolArray | None = None
        self.best_return = -np.inf
        self._rng = np.random.default_rng(seed)
        self._released = ReleasedRule(self.metrics, self._rng) if variant == "released" else None
        self._values = ActionValues(
            len(self.metrics), self.settings.hidden, self.settings.memory, self._rng
        )

    @classmethod
    def for_env(cls, env: gym.Env[Any, Any], *, seed: int = 0, **kwargs: Any) -> "EpsilonGreedy":
        """Make an agent for the importance metrics that an environment shows."""
        return cls(env.get_wrapper_attr("metrics"), seed=seed, **kwargs)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: Any = None,
    ) -> tuple[Any, Any]:
        """Choose the next head to prune, or STOP; see `prune_env.policy.Policy`.

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
        legal = legal_actions(batch)
        if action_masks is not None:
            legal = np.asarray(action_masks, bool).reshape(legal.shape)
        if self._released is not None:
            actions, state = self._released.choose(
                batch, legal, state, episode_start, deterministic
            )
        else:
            actions = self._values(batch, legal).argmax(axis=1)
            if not deterministic:
                actions = self._explore(actions, legal)
        return (actions[0] if single else actions), state

    def learn(
        self,
        env: gym.Env[Any, Any],
        *,
        total_steps: int,
        max_evaluations: int | None = None,
        callback: Callable[[Episode], bool | None] | None = None,
    ) -> "EpsilonGreedy":
        """Play and learn until the agent has taken `total_steps` in its life.

        Episodes are seeded by the agent, so one that a callback saved and that is loaded again
        goes on exactly as if it had never stopped.

        Args:
            env: A single head-pruning environment.
            total_steps: Environment steps; the episode in which they run out is finished.
            max_evaluations: Masks that the environment's evaluator may compute during this call;
                the episode in which they run out is cut short.
            callback: Called after each episode; returning False ends the learning.

        Raises:
            SettingsError: `variant="released"`, which learns nothing, or other metrics.
        """
        if self._released is not None:
            raise SettingsError("The released loop learns nothing", remedy="only call predict")
        budget = _Budget(env, max_evaluations)
        while self.steps < total_steps and budget.share_spent < 1:
            features, rewards, values = [], [], []
            observation, info = env.reset(seed=int(self._rng.integers(2**31)))
            done = False
            while not done:
                batch, legal = _seen(observation, info)
                q = self._values(batch, legal)
                action = int(self._explore(q.argmax(axis=1), legal)[0])
                features.append(self._values.features(batch, action))
                values.append(float(q.max()))
                observation, reward, terminated, truncated, info = env.step(action)
                rewards.append(float(reward))
                self._values.witness(batch, action, rewards[-1], info)
                self.steps += 1
                self.epsilon = self.settings.epsilon(
                    max(self.steps / total_steps, budget.share_spent)
                )
                done = terminated or truncated or budget.share_spent >= 1
            batch, legal = _seen(observation, info)
            tail = 0.0 if terminated else float(self._values(batch, legal).max())
            stopped = action == legal.shape[1] - 1
            self._values.remember(features, stopped, self._lambda_returns(rewards, values, tail))
            loss = self._values.fit(
                self.settings.updates_per_step * len(rewards),
                self.settings.batch_size,
                self.settings.learning_rate,
                self._rng,
            )
            self.episodes += 1
            mask, total = info["mask"], float(np.sum(rewards))
            if total > self.best_return:
                self.best_return, self.best_mask = total, mask.copy()
            if callback is not None:
                episode = Episode(
                    self.episodes, self.steps, len(rewards), total, self.epsilon, loss, mask, info
                )
                if callback(episode) is False:
                    break
        return self

    def save(self, folder: str | Path) -> None:
        """Write everything that the agent is, so that learning can go on from here.

        Args:
            folder: The agent's own folder; the newest two checkpoints in it are kept.
        """
        tensors = self._values.state()
        if self.best_mask is not None:
            tensors["best_mask"] = self.best_mask
        spec = {
            "metrics": list(self.metrics),
            "settings": asdict(self.settings),
            "variant": self.variant,
            "episodes": self.episodes,
            "epsilon": self.epsilon,
            "best_return": None if self.best_mask is None else self.best_return,
            "random_state": self._rng.bit_generator.state,
        }
        write_checkpoint(Path(folder), Checkpoint(ALGORITHM, self.steps, spec, tensors))

    @classmethod
    def load(cls, folder: str | Path) -> "EpsilonGreedy":
        """Return the agent of the newest whole checkpoint in a folder.

        Raises:
            StateError: There is none, or it is another algorithm's.
        """
        checkpoint = read_checkpoint(Path(folder))
        if checkpoint.algorithm != ALGORITHM:
            raise StateError(
                f"The agent in {folder} is of another kind",
                expected=ALGORITHM,
                actual=checkpoint.algorithm,
                remedy="load it with prune_env.agents.load_agent",
            )
        spec, tensors = checkpoint.spec, dict(checkpoint.tensors)
        settings = EpsilonGreedySettings(**spec["settings"])
        agent = cls(spec["metrics"], settings=settings, variant=spec["variant"])
        agent.steps, agent.episodes = checkpoint.step, spec["episodes"]
        agent.epsilon = spec["epsilon"]
        agent._rng.bit_generator.state = spec["random_state"]
        agent._values.restore(tensors)
        if "best_mask" in tensors:
            agent.best_mask, agent.best_return = tensors["best_mask"], spec["best_return"]
        return agent

    def _explore(self, actions: npt.NDArray[np.int64], legal: BoolArray) -> npt.NDArray[np.int64]:
        """Replace each action, with probability epsilon, by a random legal one."""
        for index in np.flatnonzero(self._rng.random(len(actions)) < self.epsilon):
            actions[index] = self._rng.choice(np.flatnonzero(legal[index]))
        return actions

    def _lambda_returns(self, rewards: list[float], values: list[float], tail: float) -> FloatArray:
        """Return G_t = r_t + discount * ((1 - trace) * V_{t+1} + trace * G_{t+1}), float32 (T,).

        Args:
            rewards: r_t of an episode of T steps.
            values: V_t, the highest action value in each state.
            tail: V_T: 0 after a true end, the value of the last state if the episode was cut.
        """
        trace, discount = self.settings.trace, self.settings.discount
        returns = np.zeros(len(rewards), np.float32)
        value = following = tail
        for t in reversed(range(len(rewards))):
            returns[t] = rewards[t] + discount * ((1 - trace) * value + trace * following)
            value, following = values[t], float(returns[t])
        return returns


class _Budget:
    """Follows the masks that an environment's evaluator computes from now on."""

    def __init__(self, env: gym.Env[Any, Any], evaluations: int | None) -> None:
        self._evaluations = evaluations
        self._evaluator = None if evaluations is None else env.get_wrapper_attr("evaluator")
        self._before = 0 if self._evaluator is None else self._evaluator.evaluations

    @property
    def share_spent(self) -> float:
        """0 to 1, or a little more; always 0 without a limit."""
        if self._evaluations is None or self._evaluator is None:
            return 0.0
        return float((self._evaluator.evaluations - self._before) / self._evaluations)


def _seen(observation: Observation, info: dict[str, Any]) -> tuple[Observation, BoolArray]:
    """Return an observation and its action mask as a batch of one."""
    batch, _ = as_batch(observation)
    return batch, np.asarray(info["action_mask"], bool)[None]
