"""From an agent's folder back to the agent, whichever kind it is."""

from pathlib import Path
from typing import Any

from prune_env.agents.checkpoint import read_checkpoint
from prune_env.errors import StateError
from prune_env.policy import POLICIES


def load_agent(folder: str | Path) -> Any:
    """Return the trained agent of a folder that `prune-env train` or an agent's `save` wrote.

    Returns:
        A `prune_env.policy.Policy`, fit for models of any number of layers and heads.

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
