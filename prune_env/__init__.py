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

from typing import TYPE_CHECKING

from prune_env.env.registration import register_environments
from prune_env.utils.lazy import lazy_names
from prune_env.utils.registry import fill_from
from prune_env.utils.whole import check_whole

__version__ = "0.2.0"

if TYPE_CHECKING:
    from prune_env.data import TextDataset, load_data, read_unlabelled, text_pair
    from prune_env.env.batch_core import BatchCore
    from prune_env.env.episode_settings import EpisodeSettings
    from prune_env.env.head_pruning_env import HeadPruningEnv
    from prune_env.env.landscape import LandscapeEvaluator
    from prune_env.env.observation import OBSERVATIONS, ObservationPart
    from prune_env.env.policy import POLICIES, Policy
    from prune_env.env.replay import validate
    from prune_env.env.rewards.consistency import Consistency
    from prune_env.env.rewards.oracle import Oracle
    from prune_env.env.rewards.reward import REWARDS, Reward
    from prune_env.env.state import State, read_states, write_states
    from prune_env.env.subject import Subject
    from prune_env.env.vector_env import HeadPruningVectorEnv
    from prune_env.errors import PruneEnvError
    from prune_env.evaluation import Evaluation, Evaluator, MaskEvaluator, ReferenceEvaluator
    from prune_env.importance import DEFAULT_METRICS, METRICS, head_importance
    from prune_env.models import load_classifier, load_pruned
    from prune_env.purification import load_ensemble
    from prune_env.purification.purify import purify

_HOMES = {
    "BatchCore": "env.batch_core",
    "Consistency": "env.rewards.consistency",
    "DEFAULT_METRICS": "importance",
    "EpisodeSettings": "env.episode_settings",
    "Evaluation": "evaluation",
    "Evaluator": "evaluation",
    "head_importance": "importance",
    "HeadPruningEnv": "env.head_pruning_env",
    "HeadPruningVectorEnv": "env.vector_env",
    "LandscapeEvaluator": "env.landscape",
    "load_classifier": "models",
    "load_data": "data",
    "load_ensemble": "purification",
    "load_pruned": "models",
    "MaskEvaluator": "evaluation",
    "METRICS": "importance",
    "ObservationPart": "env.observation",
    "OBSERVATIONS": "env.observation",
    "Oracle": "env.rewards.oracle",
    "POLICIES": "env.policy",
    "Policy": "env.policy",
    "PruneEnvError": "errors",
    "purify": "purification",
    "read_states": "env.state",
    "read_unlabelled": "data",
    "ReferenceEvaluator": "evaluation",
    "Reward": "env.rewards.reward",
    "REWARDS": "env.rewards.reward",
    "State": "env.state",
    "Subject": "env.subject",
    "text_pair": "data",
    "TextDataset": "data",
    "validate": "env.replay",
    "write_states": "env.state",
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
    "TextDataset",
    "__version__",
    "head_importance",
    "load_classifier",
    "load_data",
    "load_ensemble",
    "load_pruned",
    "purify",
    "read_states",
    "read_unlabelled",
    "text_pair",
    "validate",
    "write_states",
]


if not TYPE_CHECKING:  # or type checkers would take every misspelt name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

check_whole(__name__, "agents", "baselines")

# The one place that tells lower rooms of what stands above them; none of it is imported here.
register_environments(
    "prune_env.env.head_pruning_env:HeadPruningEnv", "prune_env.env.vector_env:HeadPruningVectorEnv"
)
fill_from("policy", "prune_env.agents", "prune_env.baselines")
fill_from("kind of agent's folder", "prune_env.agents")
fill_from("penalty", "prune_env.baselines")
