"""A trained agent in the place of a registered policy: it plays, and learns no more."""

from pathlib import Path
from typing import Any

import numpy as np

from prune_env.agents.checkpoint import read_checkpoint
from prune_env.env.policy import POLICIES, Policy, Recipe
from prune_env.errors import SettingsError, StateError


def load_agent(folder: str | Path) -> Any:
    """Return the trained agent of a folder that `prune-env train` or an agent's `save` wrote.

    Returns:
        A `prune_env.env.policy.Policy`, fit for models of any number of layers and heads.

    Raises:
        StateError: The folder holds no whole checkpoint, or one of an unknown algorithm.
    """
    algorithm = read_checkpoint(Path(folder)).algorithm
    if not learns(algorithm):
        raise StateError(
            f"The agent in {folder} is of an unknown algorithm",
            expected=f"one of {', '.join(learner_names())}",
            actual=algorithm,
            remedy="load it with the version of prune-env that wrote it",
        )
    return POLICIES[algorithm].load(folder)


def learns(algorithm: str) -> bool:
    """Return whether this is the name of a policy that learns, and can be saved and loaded."""
    return algorithm in POLICIES and hasattr(POLICIES[algorithm], "load")


def learner_names() -> list[str]:
    """Return the names of the policies that learn, sorted."""
    return [name for name in POLICIES.names() if learns(name)]


class TrainedPolicy:
    """The agent of a folder, to be used where `POLICIES` has a class.

    Args:
        folder: What `prune-env train` wrote: `best` or `agent` of a run.

    Attributes:
        folder: As given.
        agent: The agent.

    Raises:
        StateError: The folder holds no agent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agent = load_agent(folder)

    @property
    def identity(self) -> dict[str, Any]:
        """Algorithm, steps learned and SHA-256 of the numbers, as plain values."""
        checkpoint = read_checkpoint(self.folder)
        return {
            "algorithm": checkpoint.algorithm,
            "steps": checkpoint.step,
            "sha256": checkpoint.tensors_sha256,
        }

    def recipe(self, variant: str = "paper") -> Recipe:
        """Return what the agent needs of the purifier: the metrics that it was trained on.

        Raises:
            SettingsError: A variant is asked for.
        """
        if variant != "paper":
            raise SettingsError("A trained agent has no variants", expected="paper", actual=variant)
        return Recipe(metrics=self.agent.metrics)

    def for_env(self, env: Any, *, seed: int = 0) -> Policy:
        """Return a policy that plays the environment; nothing of it is random.

        Args:
            env: A `HeadPruningEnv` that shows the agent's metrics, in any order, or more.
            seed: Is not used.
        """
        return _Player(self.agent, tuple(env.unwrapped.metrics))


class _Player:
    def __init__(self, agent: Any, shown: tuple[str, ...]) -> None:
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

    def predict(self, observation: Any, *arguments: Any, **named: Any) -> tuple[Any, Any]:
        """Choose an action; see `prune_env.env.policy.Policy`."""
        importance = np.asarray(observation["importance"])[..., self._columns]
        shown = {**observation, "importance": importance}
        action, state = self._agent.predict(shown, *arguments, **named)
        return action, state
