"""Head pruning as a Gymnasium environment: purify backdoored text transformers with clean data.

Importing the package registers its environments and imports neither torch nor transformers;
public names are imported when they are first used.

Example:
    >>> import gymnasium as gym, prune_env
    >>> env = gym.make("prune_env/Landscape-v0")
    >>> observation, info = env.reset(seed=0)
    >>> observation["mask"].shape
    (6, 12)
"""

from importlib import import_module
from typing import Any

from prune_env.registration import register_environments

__version__ = "0.1.0"

_HOMES = {
    "HeadPruningEnv": "prune_env.env",
    "HeadPruningVectorEnv": "prune_env.vector",
    "BatchCore": "prune_env.core",
    "EpisodeSettings": "prune_env.episode",
    "Subject": "prune_env.subject",
    "DEFAULT_METRICS": "prune_env.importance",
    "LandscapeEvaluator": "prune_env.landscape",
    "OBSERVATIONS": "prune_env.observation",
    "ObservationPart": "prune_env.observation",
    "REWARDS": "prune_env.reward",
    "Reward": "prune_env.reward",
    "Oracle": "prune_env.reward",
    "State": "prune_env.state",
    "Evaluation": "prune_env.evaluation",
    "Evaluator": "prune_env.evaluation",
    "PruneEnvError": "prune_env.errors",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'prune_env' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


register_environments()
