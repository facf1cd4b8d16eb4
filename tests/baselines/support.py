"""Observations without an environment, and the loop that plays one."""

from typing import Any

import numpy as np

from prune_env.env.policy import Observation


def observe(shape: tuple[int, int], metrics: int, seed: int = 0) -> Observation:
    """An unpruned model with random importance."""
    random = np.random.default_rng(seed)
    return {
        "mask": np.ones(shape, np.float32),
        "importance": random.normal(size=(*shape, metrics)).astype(np.float32),
        "status": np.array([0.9, 0.05, 0.0, 1.0], np.float32),
    }


def prune_all(policy: Any, observation: Observation) -> list[int]:
    """Actions of an episode in which tau never breaks, up to and with STOP."""
    mask = observation["mask"].copy()
    actions: list[int] = []
    while not actions or actions[-1] != mask.size:
        action = int(policy.predict({**observation, "mask": mask})[0])
        actions.append(action)
        if action != mask.size:
            assert mask.flat[action] == 1
            mask.flat[action] = 0
    return actions
