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

from prune_env.env.registration import register_environments
from prune_env.utils.registry import fill_from

__version__ = "0.2.0"

if TYPE_CHECKING:
    from prune_env.env.batch_core import BatchCore
    from prune_env.env.episode import EpisodeSettings
    from prune_env.env.head_pruning_env import HeadPruningEnv
    from prune_env.env.landscape import LandscapeEvaluator
    from prune_env.env.observation import OBSERVATIONS, ObservationPart
    from prune_env.env.policy import POLICIES, Policy
    from prune_env.env.replay import State, read_states, validate, write_states
    from prune_env.env.rewards.perturbation import Consistency
    from prune_env.env.rewards.reward import REWARDS, Oracle, Reward
    from prune_env.env.subject import Subject
    from prune_env.env.vector_env import HeadPruningVectorEnv
    from prune_env.errors import PruneEnvError
    from prune_env.evaluation import Evaluation, Evaluator, MaskEvaluator, ReferenceEvaluator
    from prune_env.importance import DEFAULT_METRICS, METRICS, head_importance
    from prune_env.models import load_classifier, load_pruned
    from prune_env.purification import load_ensemble
    from prune_env.purification.purify import purify

_HOMES = {
    "BatchCore": "prune_env.env.batch_core",
    "Consistency": "prune_env.env.rewards.perturbation",
    "DEFAULT_METRICS": "prune_env.importance",
    "EpisodeSettings": "prune_env.env.episode",
    "Evaluation": "prune_env.evaluation",
    "Evaluator": "prune_env.evaluation",
    "head_importance": "prune_env.importance",
    "HeadPruningEnv": "prune_env.env.head_pruning_env",
    "HeadPruningVectorEnv": "prune_env.env.vector_env",
    "LandscapeEvaluator": "prune_env.env.landscape",
    "load_classifier": "prune_env.models",
    "load_ensemble": "prune_env.purification",
    "load_pruned": "prune_env.models",
    "MaskEvaluator": "prune_env.evaluation",
    "METRICS": "prune_env.importance",
    "ObservationPart": "prune_env.env.observation",
    "OBSERVATIONS": "prune_env.env.observation",
    "Oracle": "prune_env.env.rewards.reward",
    "POLICIES": "prune_env.env.policy",
    "Policy": "prune_env.env.policy",
    "PruneEnvError": "prune_env.errors",
    "purify": "prune_env.purification",
    "read_states": "prune_env.env.replay",
    "ReferenceEvaluator": "prune_env.evaluation",
    "Reward": "prune_env.env.rewards.reward",
    "REWARDS": "prune_env.env.rewards.reward",
    "State": "prune_env.env.replay",
    "Subject": "prune_env.env.subject",
    "validate": "prune_env.env.replay",
    "write_states": "prune_env.env.replay",
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
# The one place that tells the tables of lower rooms who fills them; none of it is imported here.
fill_from("policy", "prune_env.agents", "prune_env.baselines")
fill_from("kind of agent's folder", "prune_env.agents")
fill_from("penalty", "prune_env.baselines")
