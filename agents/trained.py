"""A trained agent in the place of a registered policy: it plays, and learns no more."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.agents.agent import Agent
from prune_env.agents.checkpoint import Checkpoint, read_checkpoint
from prune_env.agents.features import as_batch
from prune_env.env.known_rules import KnownRules
from prune_env.env.policy import POLICIES, Policy, Requirements, no_variant
from prune_env.errors import SettingsError, StateError


def load_agent(folder: str | Path) -> Agent:
    """Return the trained agent of a folder that `prune-env train` or an agent's `save` wrote.

    Returns:
        An agent, fit for models of any number of layers and heads.

    Raises:
        StateError: The folder holds no whole checkpoint, or one of an unknown algorithm.
    """
    return _agent_of(read_checkpoint(folder), folder)


def _agent_of(checkpoint: Checkpoint, folder: str | Path) -> Agent:
    """Return the agent of a checkpoint that was read from a folder."""
    if not learns(checkpoint.algorithm):
        raise StateError(
            f"The agent in {folder} is of an unknown algorithm",
            expected=f"one of {', '.join(learner_names())}",
            actual=checkpoint.algorithm,
            remedy="load it with the version of prune-env that wrote it",
        )
    return agent_class(checkpoint.algorithm).from_checkpoint(checkpoint, folder)


def agent_class(algorithm: str) -> type[Agent]:
    """Return the class of an algorithm that `learns`."""
    found: type[Agent] = POLICIES[algorithm]
    return found


def learns(algorithm: str) -> bool:
    """Return whether this is the name of a policy that learns, and can be saved and loaded."""
    return algorithm in POLICIES and _is_agent(POLICIES[algorithm])


def learner_names() -> list[str]:
    """Return the names of the policies that learn, sorted; without those of broken packages."""
    names = []
    for name in POLICIES.names():
        with suppress(SettingsError):  # of another distribution, whose code cannot be loaded
            if learns(name):
                names.append(name)
    return names


def _is_agent(policy: Any) -> bool:
    return isinstance(policy, type) and issubclass(policy, Agent)


class TrainedPolicy:
    """The agent of a folder, to be used where `POLICIES` has a class.

    Args:
        folder: What `prune-env train` wrote: a run, of which `best` plays, or `best` or `agent` in
            it.

    Attributes:
        folder: Of the agent that plays.
        agent: The agent.
        identity: Algorithm, steps learned and SHA-256 of the numbers, as plain values; and `oracle`
            where what it learned from reads the trigger, so that no mask of it is a defence.

    Raises:
        StateError: The folder holds no agent.
    """

    def __init__(self, folder: Path) -> None:
        best = folder / "best"
        self.folder = best if best.is_dir() else folder
        # Once: a training may go on saving there meanwhile.
        checkpoint = read_checkpoint(self.folder)
        self.agent = _agent_of(checkpoint, self.folder)
        self.identity: dict[str, Any] = {
            "algorithm": checkpoint.algorithm,
            "steps": checkpoint.step,
            "sha256": checkpoint.tensors_sha256,
            **({"oracle": True} if self.agent.record.oracle else {}),
        }

    def requirements(self, variant: str = "paper") -> Requirements:
        """Return what the agent requires: the metrics that it was trained on.

        Raises:
            SettingsError: A variant is asked for.
        """
        if variant != "paper":
            raise no_variant("A trained agent", variant)
        return Requirements(metrics=self.agent.metrics)

    def for_env(self, env: Any, *, seed: int = 0, variant: str = "paper") -> Policy:
        """Return a policy that plays the environment, and learns no more.

        Args:
            env: A `HeadPruningEnv` that shows the agent's metrics, in any order, or more.
            seed: Of the agent's exploration, where `predict` is not asked to be deterministic;
                policies of equal seeds play alike, whoever else plays.
            variant: Only `paper`.

        Raises:
            SettingsError: The environment lacks a metric or a part of the observation, or a
                variant is asked for.
        """
        self.requirements(variant)
        self.agent.check_shown(env.observation_space)
        player = _Player(self.agent.player(seed), tuple(env.unwrapped.metrics), self.identity)
        player.known_rules = KnownRules.of(env)
        return player


class _Player:
    known_rules: KnownRules | None = None

    def __init__(self, agent: Agent, shown: tuple[str, ...], identity: dict[str, Any]) -> None:
        self.identity = identity
        missing = [name for name in agent.metrics if name not in shown]
        if missing:
            raise SettingsError(
                "The environment does not show what the agent was trained on",
                expected=", ".join(agent.metrics),
                actual=", ".join(shown),
                remedy="name them in the environment's `metrics`",
            )
        self._agent = agent
        self._columns = [shown.index(name) for name in agent.metrics]

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: Any = None,
    ) -> tuple[Any, Any]:
        """Choose an action; see `prune_env.env.policy.Policy`."""
        self._agent.check_shown(observation)
        if action_masks is None and self.known_rules is not None:
            action_masks = self.known_rules.legal(as_batch(observation)[0])
        importance = np.asarray(observation["importance"])[..., self._columns]
        shown = {**observation, "importance": importance}
        return self._agent.predict(shown, state, episode_start, deterministic, action_masks)
