"""The table of environment ids."""

from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym

from prune_env.importance.registry import UNIT_METRICS
from prune_env.utils.registry import Registry


@dataclass(frozen=True)
class Environment:
    """What is registered under an id.

    Attributes:
        max_episode_steps: Steps after which `TimeLimit` truncates. Legal play ends after at most
            L * H + 1 steps; the rest is room for illegal choices.
        kwargs: Default arguments of the constructor, strings and numbers.
    """

    max_episode_steps: int
    kwargs: dict[str, Any] = field(default_factory=dict)


ENVIRONMENTS: Registry[Environment] = Registry("environment")
"""Every id that importing the package registers."""

ENVIRONMENTS.register(
    "prune_env/HeadPruning-v0",
    Environment(500),
    help="any classifier and clean data: model=folder or name, data=file, folder or name",
)
ENVIRONMENTS.register(
    "prune_env/MiniLM-v0",
    Environment(200, {"model": "minilm-demo", "tau": None}),
    help="the demo's backdoored MiniLM (72 heads) on Rotten Tomatoes, made at first use",
)
ENVIRONMENTS.register(
    "prune_env/Tiny-v0",
    Environment(50, {"model": "tiny"}),
    help="a tiny BERT with a planted backdoor, trained at first use in under a minute",
)
ENVIRONMENTS.register(
    "prune_env/Landscape-v0",
    Environment(200, {"model": "landscape"}),
    help="no transformer: a synthetic accuracy landscape, thousands of steps a second",
)

ENVIRONMENTS.register(
    "prune_env/Recorded-v0",
    Environment(500, {"recorded": True}),
    help="a model that was recorded, without the model: model=FILE.npz of `prune-env record`, or"
    " the name of one that ships, such as sst2-hiddenkiller-0, the default",
)

_UNITS = {"neuron_groups": 8, "map_steps": 4, "metrics": ",".join(UNIT_METRICS)}

ENVIRONMENTS.register(
    "prune_env/HybridPruning-v0",
    Environment(1000, dict(_UNITS)),
    help="HeadPruning-v0 with groups of neurons and strengths of linear maps beside its heads",
)
ENVIRONMENTS.register(
    "prune_env/HybridMiniLM-v0",
    Environment(500, {"model": "minilm-demo", "tau": None, **_UNITS}),
    help="MiniLM-v0 with 216 units: heads, groups of neurons and strengths of linear maps",
)
ENVIRONMENTS.register(
    "prune_env/HybridTiny-v0",
    Environment(200, {"model": "tiny", **_UNITS, "neuron_groups": 4, "map_steps": 2}),
    help="Tiny-v0 with units beside its heads",
)


def register_environments(single: str, vector: str) -> None:
    """Register every id with Gymnasium; a second call changes nothing.

    Args:
        single: `"module:class"` of the environment for one episode at a time.
        vector: The same of that for many.
    """
    for entry in ENVIRONMENTS:
        if entry.name not in gym.registry:
            environment = entry.load()
            gym.register(
                entry.name,
                entry_point=single,
                vector_entry_point=vector,
                max_episode_steps=environment.max_episode_steps,
                kwargs=dict(environment.kwargs),
            )
