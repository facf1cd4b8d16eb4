"""Every agent learns: it beats chance and the fixed orders by margins a broken one cannot reach.

Three landscapes of 3 x 6 heads. Of 18 heads, random legal play prunes 4.5 on average before tau
breaks, the paper's fixed gradient order 8.0, the order by the true size of each head's own cost
10.3, and a greedy search over every mask at each step 12.3.
"""

import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import prune_env  # noqa: F401 - registers the environments
from prune_env.agents.callbacks import play
from prune_env.env.policy import POLICIES
from prune_env.errors import SettingsError

SEEDS = (0, 1, 2)
MARGIN_OVER_GRADIENT = 1.5
MARGIN_OVER_RANDOM = 5.0


class _Random:
    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def predict(self, observation, state, *_, action_masks, **__):
        heads = np.flatnonzero(action_masks[:-1])
        return (self._rng.choice(heads) if len(heads) else len(action_masks) - 1), state


class _Gradient:
    def predict(self, observation, state, *_, action_masks, **__):
        scores = observation["importance"][..., 0].ravel()
        return np.where(action_masks[:-1], scores, np.inf).argmin(), state


def _model(seed: int) -> str:
    return f"landscape:layers=3,heads=6,seed={seed}"


def _env(seed: int) -> gym.Env:
    return gym.make("prune_env/Landscape-v0", model=_model(seed))


def _pruned(policy, seed: int) -> int:
    return play(_env(seed), policy, _model(seed))["heads_pruned"]


@pytest.fixture(scope="module")
def random_mean() -> float:
    return np.mean([_pruned(_Random(k), seed) for seed in SEEDS for k in range(20)])


@pytest.fixture(scope="module")
def gradient_mean() -> float:
    return np.mean([_pruned(_Gradient(), seed) for seed in SEEDS])


def test_the_yardsticks_are_as_stated(random_mean: float, gradient_mean: float):
    assert random_mean == pytest.approx(4.5, abs=0.3)
    assert gradient_mean == 8.0


@pytest.mark.parametrize(
    ("algorithm", "steps"),
    [("epsilon-greedy", 500), ("dqn", 5000), ("a2c", 4000), ("ppo", 2500), ("maskable_ppo", 2500)],
)
def test_learns(algorithm: str, steps: int, random_mean: float, gradient_mean: float):
    """Within these steps, over three seeds, acting without exploration."""
    pruned = []
    for seed in SEEDS:
        agent = POLICIES[algorithm].for_env(_env(seed), seed=seed)
        agent.learn(_env(seed), total_steps=steps)
        pruned.append(_pruned(agent, seed))
    assert np.mean(pruned) >= gradient_mean + MARGIN_OVER_GRADIENT, pruned
    assert np.mean(pruned) >= random_mean + MARGIN_OVER_RANDOM, pruned


@pytest.mark.parametrize("algorithm", ["epsilon-greedy", "dqn", "ppo", "maskable_ppo"])
def test_on_the_tiny_model_it_finds_what_a_long_search_finds(algorithm: str):
    """Greedy search over every mask at each step; an exhaustive one finds no better mask either."""
    env = gym.make("prune_env/Tiny-v0")
    searched = play(env, POLICIES["greedy"].for_env(env), "tiny")["total_reward"]
    agent = POLICIES[algorithm].for_env(env, seed=0)
    agent.learn(env, total_steps=1000)
    assert agent.best_return >= 0.98 * searched > 0.5
    assert play(env, agent, "tiny")["total_reward"] >= 0.98 * searched
    assert play(env, agent, "tiny")["heads_pruned"] == 7


WITHOUT_SB3 = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("stable_baselines3", "sb3_contrib"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
import gymnasium as gym
import prune_env
from prune_env.agents.epsilon_greedy import EpsilonGreedy

env = gym.make("prune_env/Landscape-v0", model="landscape:layers=2,heads=4")
agent = EpsilonGreedy.for_env(env).learn(env, total_steps=60)
assert agent.record.steps >= 60
print(agent.best_return)
"""


def test_epsilon_greedy_learns_without_stable_baselines3():
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SB3], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0


@pytest.mark.parametrize("algorithm", ["epsilon-greedy", "dqn"])
@pytest.mark.parametrize("most", [0, -1])
def test_a_learning_of_no_masks_is_refused(algorithm: str, most: int):
    agent = POLICIES[algorithm].for_env(_env(0))
    with pytest.raises(SettingsError, match="max_evaluations"):
        agent.learn(_env(0), total_steps=5, max_evaluations=most)
