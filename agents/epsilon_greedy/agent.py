"""Epsilon-greedy head pruning over action values that are learned while it prunes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from prune_env.agents.agent import Agent, Tensors
from prune_env.agents.checkpoint import Checkpoint, SaveTimes
from prune_env.agents.epsilon_greedy.action_values import ActionValues
from prune_env.agents.epsilon_greedy.released import GROUP, VARIANCES, ReleasedRule
from prune_env.agents.epsilon_greedy.settings import EpsilonGreedySettings
from prune_env.agents.features import (
    BoolArray,
    FloatArray,
    as_batch,
    check_metrics,
)
from prune_env.agents.record import Budget, EpisodeCallback, EpisodeReport, sum_terms
from prune_env.env.known_rules import KnownRules
from prune_env.env.policy import Observation, Requirements
from prune_env.errors import SettingsError
from prune_env.importance import DEFAULT_METRICS


class EpsilonGreedy(Agent):
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
        record: Steps and episodes learned from so far, and the best of them.
        epsilon: Share of random actions at the moment.
    """

    algorithm = "epsilon-greedy"
    variants = ("paper", "released")

    def __init__(
        self,
        metrics: Sequence[str] = DEFAULT_METRICS,
        *,
        settings: EpsilonGreedySettings | None = None,
        seed: int = 0,
        variant: str = "paper",
    ) -> None:
        super().__init__(tuple(metrics))
        self.requirements(variant)  # raises where there is no such variant
        self.settings = settings or EpsilonGreedySettings()
        self.hyperparameters = asdict(self.settings)
        self.variant = variant
        self.epsilon = self.settings.epsilon_start
        self._rng = np.random.default_rng(seed)
        self._released: ReleasedRule | None = None
        if variant == "released":
            self.reads = ("mask", "importance")
            self._released = ReleasedRule(self.metrics, self._rng)
        self._values = ActionValues(
            len(self.metrics), self.settings.hidden, self.settings.memory, self._rng
        )

    @classmethod
    def requirements(cls, variant: str = "paper") -> Requirements:
        """Return what the agent requires; the published loop prunes unchecked groups of ten.

        Raises:
            SettingsError: The variant does not exist.
        """
        required = super().requirements(variant)
        if variant == "paper":
            return required
        return Requirements(metrics=VARIANCES[:1], prune_step=GROUP, backtrack=False)

    @classmethod
    def for_env(
        cls,
        env: gym.Env[Any, Any],
        *,
        seed: int = 0,
        variant: str = "paper",
        hyperparameters: Mapping[str, Any] | None = None,
    ) -> Self:
        """Make an agent for an environment; `hyperparameters` change `EpsilonGreedySettings`."""
        env_id = env.spec.id if env.spec is not None else None
        settings = EpsilonGreedySettings.changed(hyperparameters or {}, env_id)
        metrics = env.get_wrapper_attr("metrics")
        agent = cls(metrics, settings=settings, seed=seed, variant=variant)
        agent.check_shown(env.observation_space)
        agent._known_rules = KnownRules.of(env)
        return agent

    @classmethod
    def check_hyperparameters(cls, changes: Mapping[str, Any], env_id: str) -> None:
        """Refuse what `for_env` would refuse; see `Agent.check_hyperparameters`."""
        EpsilonGreedySettings.changed(changes, env_id)

    def player(self, seed: int) -> Self:
        """Return the agent as it is, with exploration of its own; see `Agent.player`."""
        player = super().player(seed)
        if player._released is not None:
            player._released = ReleasedRule(player.metrics, player._rng)
        return player

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
        legal = self._legal(batch, action_masks)
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
        callback: EpisodeCallback | None = None,
        save_to: str | Path | None = None,
        save_every: int = 5000,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> Self:
        """Play and learn until the agent has taken `total_steps` in its life; see `Agent.learn`.

        Episodes are seeded by the agent. The episode in which the steps run out is finished, that
        in which the evaluations run out is cut short; `stop_requested` is asked after each.

        Raises:
            SettingsError: `variant="released"`, which learns nothing, or the environment shows
                other metrics than the agent's, or not all parts of the observation.
        """
        if self._released is not None:
            raise SettingsError("The released loop learns nothing", remedy="only call predict")
        check_metrics(self.metrics, env.get_wrapper_attr("metrics"))
        self.check_shown(env.observation_space)
        budget = self._begin_budget(env.get_wrapper_attr("core"), max_evaluations)
        record, due = self.record, SaveTimes(save_every, self.record.steps)
        while record.steps < total_steps and budget.share_spent < 1:
            report = self._learn_episode(env, budget, total_steps)
            go_on = callback is None or callback(report) is not False
            if save_to is not None and due(record.steps):
                self.save(save_to)
            if not go_on or stop_requested():
                break
        if save_to is not None:
            self.save(save_to)
        return self

    def _learn_episode(
        self, env: gym.Env[Any, Any], budget: Budget, total_steps: int
    ) -> EpisodeReport:
        """Play one episode with exploration, and fit the action values to what it was worth."""
        features, rewards, values = [], [], []
        terms: dict[str, float] = {}
        observation, info = env.reset(seed=int(self._rng.integers(2**31)))
        done = False
        while not done:
            batch, legal = _batch_of_one(observation, info)
            q = self._values(batch, legal)
            action = int(self._explore(q.argmax(axis=1), legal)[0])
            features.append(self._values.features(batch, action))
            values.append(float(q.max()))
            observation, reward, terminated, truncated, info = env.step(action)
            rewards.append(float(reward))
            sum_terms(terms, info)
            self._values.add_step(batch, action, rewards[-1], info)
            self.record.steps += 1
            progress = max(self.record.steps / total_steps, budget.share_spent)
            self.epsilon = self.settings.epsilon(progress)
            done = terminated or truncated or budget.share_spent >= 1
        batch, legal = _batch_of_one(observation, info)
        tail = 0.0 if terminated else float(self._values(batch, legal).max())
        stopped = action == legal.shape[1] - 1
        self._values.remember(features, stopped, self._lambda_returns(rewards, values, tail))
        loss = self._values.fit(
            self.settings.updates_per_step * len(rewards),
            self.settings.batch_size,
            self.settings.learning_rate,
            self._rng,
        )
        figures = {"train/epsilon": self.epsilon, "train/loss": loss}
        return self.record.add(length=len(rewards), reward_terms=terms, info=info, figures=figures)

    def _pack(self, *, weights_only: bool) -> tuple[dict[str, Any], Tensors]:
        spec = {
            "metrics": list(self.metrics),
            "settings": self.hyperparameters,
            "variant": self.variant,
            "epsilon": self.epsilon,
            "record": self.record.state(),
            "random_state": self._rng.bit_generator.state,
        }
        return spec, self._values.state(memory=not weights_only)

    @classmethod
    def _unpack(cls, checkpoint: Checkpoint) -> Self:
        spec = checkpoint.spec
        settings = EpsilonGreedySettings(**spec["settings"])
        agent = cls(checkpoint.metrics, settings=settings, variant=spec["variant"])
        agent.epsilon = float(spec["epsilon"])
        agent._rng.bit_generator.state = spec["random_state"]
        agent._values.restore(dict(checkpoint.tensors))
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


def _batch_of_one(observation: Observation, info: dict[str, Any]) -> tuple[Observation, BoolArray]:
    """Return an observation and its action mask as a batch of one."""
    batch, _ = as_batch(observation)
    return batch, np.asarray(info["action_mask"], bool)[None]
