"""What several tests of the environment play."""

import gymnasium as gym
import pytest

import prune_env  # noqa: F401 - registers the environments


@pytest.fixture
def played():
    env = gym.make(
        "prune_env/HeadPruning-v0",
        pool=["landscape:layers=2,heads=4", "landscape:layers=3,heads=3"],
        prune_step=2,
        tau=0.5,
        reward="sparsity + 0.5 * accuracy",
        render_mode="ansi",
    ).unwrapped
    env.reset(seed=3)
    for action in (0, 0, 5, 4, -2, 1):
        env.step(action)
    return env
