"""Random observations, for tests that need no environment."""

import numpy as np

from prune_env.env.policy import Observation


def random_observation(
    count: int, layers: int = 3, heads: int = 4, metrics: int = 2, seed: int = 0
) -> Observation:
    """Return a batch in which about a third of the heads is pruned, one per layer kept at least."""
    random = np.random.default_rng(seed)
    mask = random.random((count, layers, heads)) > 0.33
    mask[..., 0] = True
    return {
        "mask": mask.astype(np.float32),
        "importance": random.normal(size=(count, layers, heads, metrics)).astype(np.float32),
        "status": random.random((count, 4)).astype(np.float32),
    }
