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
from typing import TYPE_CHECKING, Any

from prune_env.registration import register_environments

__version__ = "0.1.0"

if TYPE_CHECKING:
    from prune_env.consistency import Consistency
    from prune_env.core import BatchCore
    from prune_env.env import HeadPruningEnv
    from prune_env.episode import EpisodeSettings
    from prune_env.errors import PruneEnvError
    from prune_env.evaluation import Evaluation, Evaluator, MaskEvaluator, ReferenceEvaluator
    from prune_env.importance import DEFAULT_METRICS, METRICS, head_importance
    from prune_env.landscape import LandscapeEvaluator
    from prune_env.models import load_classifier, load_pruned
    from prune_env.observation import OBSERVATIONS, ObservationPart
    from prune_env.policy import POLICIES, Policy
    from prune_env.purification import load_ensemble
    from prune_env.purification.purify import purify
    from prune_env.reward import REWARDS, Oracle, Reward
    from prune_env.state import State, read_states, validate, write_states
    from prune_env.subject import Subject
    from prune_env.vector import HeadPruningVectorEnv

_HOMES = {
    "BatchCore": "prune_env.core",
    "Consistency": "prune_env.consistency",
    "DEFAULT_METRICS": "prune_env.importance",
    "EpisodeSettings": "prune_env.episode",
    "Evaluation": "prune_env.evaluation",
    "Evaluator": "prune_env.evaluation",
    "head_importance": "prune_env.importance",
    "HeadPruningEnv": "prune_env.env",
    "HeadPruningVectorEnv": "prune_env.vector",
    "LandscapeEvaluator": "prune_env.landscape",
    "load_classifier": "prune_env.models",
    "load_ensemble": "prune_env.purification",
    "load_pruned": "prune_env.models",
    "MaskEvaluator": "prune_env.evaluation",
    "METRICS": "prune_env.importance",
    "ObservationPart": "prune_env.observation",
    "OBSERVATIONS": "prune_env.observation",
    "Oracle": "prune_env.reward",
    "POLICIES": "prune_env.policy",
    "Policy": "prune_env.policy",
    "PruneEnvError": "prune_env.errors",
    "purify": "prune_env.purification",
    "read_states": "prune_env.state",
    "ReferenceEvaluator": "prune_env.evaluation",
    "Reward": "prune_env.reward",
    "REWARDS": "prune_env.reward",
    "State": "prune_env.state",
    "Subject": "prune_env.subject",
    "validate": "prune_env.state",
    "write_states": "prune_env.state",
}

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "OBSERVATIONS",
    "POLICIES",
    "REWARDS",
    "BatchCore",
    "Consistency",
    "EpisodeSettings",
    "Evaluation",
    "Evaluator",
    "HeadPruningEnv",
    "HeadPruningVectorEnv",
    "LandscapeEvaluator",
    "MaskEvaluator",
    "ObservationPart",
    "Oracle",
    "Policy",
    "PruneEnvError",
    "ReferenceEvaluator",
    "Reward",
    "State",
    "Subject",
    "__version__",
    "head_importance",
    "load_classifier",
    "load_ensemble",
    "load_pruned",
    "purify",
    "read_states",
    "validate",
    "write_states",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'prune_env' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


register_environments()
