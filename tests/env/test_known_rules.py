"""Policies that are asked without action masks, as Stable-Baselines3 does, choose what is legal."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import prune_env  # noqa: F401 - registers the environments
from prune_env.env.known_rules import KnownRules
from prune_env.env.observation import legal_actions
from prune_env.env.policy import POLICIES
from prune_env.importance.registry import UNIT_METRICS

UNITS = {
    "model": "landscape:layers=3,heads=3,groups=2,steps=2",
    "metrics": UNIT_METRICS,
    "tau": 0.6,
}
NAMES = ("random", "magnitude", "greedy", "trained-dqn", "carried-over", "epsilon-greedy", "ppo")


def _env(**arguments: Any) -> gym.Env:
    return gym.make("prune_env/Landscape-v0", observation="mask,importance,status", **arguments)


def _walk(env: gym.Env, seed: int) -> Any:
    """Yield observation and what is legal, along a random game."""
    random = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    done = False
    while not done:
        yield observation, info["action_mask"].astype(bool)
        legal = np.flatnonzero(info["action_mask"][:-1])
        action = int(random.choice(legal)) if legal.size else len(info["action_mask"]) - 1
        observation, _, terminated, truncated, info = env.step(action)
        done = terminated or truncated


@pytest.mark.parametrize(
    "arguments",
    [
        UNITS,
        {**UNITS, "min_heads_per_layer": 2, "prune_step": 3},
        {"model": "landscape:layers=2,heads=4", "min_heads_per_layer": 3, "tau": 0.5},
        {"model": "landscape:layers=2,heads=4", "tau": 1.0},
        {
            **UNITS,
            "model": None,
            "pool": [UNITS["model"], "landscape:layers=2,heads=4,seed=3,groups=1,steps=3"],
        },
    ],
)
def test_they_are_those_of_the_environment(arguments: dict[str, Any]) -> None:
    env = _env(**arguments)
    rules = KnownRules.of(env)
    assert rules is not None
    guessed = 0
    for seed in range(4):
        for observation, legal in _walk(env, seed):
            batch = {key: value[None] for key, value in observation.items()}
            assert rules.legal(batch)[0].tolist() == legal.tolist()
            guessed += not np.array_equal(legal_actions(batch)[0], legal)
    assert guessed  # the observation alone does not tell


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("arguments", [UNITS, {**UNITS, "min_heads_per_layer": 2}])
def test_policies_play_alike_without_action_masks(name: str, arguments: dict[str, Any]) -> None:
    env = _env(**arguments)
    played = []
    for told in (True, False):
        policy = POLICIES[name].for_env(env, seed=3)
        observation, info = env.reset(seed=0)
        actions, done = [], False
        while not done:
            masks = info["action_mask"].astype(bool) if told else None
            action, _ = policy.predict(observation, deterministic=True, action_masks=masks)
            observation, _, terminated, truncated, info = env.step(int(action))
            assert info["illegal"] == ""
            actions.append(int(action))
            done = terminated or truncated
        played.append(actions)
    assert played[0] == played[1]


@pytest.mark.parametrize(
    "name", ["gradient", "greedy", "evolution", "reward-greedy", "trained-dqn"]
)
def test_the_vector_form_is_played_alike(name: str) -> None:
    envs = gym.make_vec("prune_env/Landscape-v0", num_envs=2, **UNITS)
    env = _env(**UNITS)
    played = []
    for game in (envs, env):
        policy = POLICIES[name].for_env(game, seed=1)
        observation, _ = game.reset(seed=0)
        actions = []
        for _ in range(5):
            action, _ = policy.predict(observation, deterministic=True)
            observation, *_ = game.step(action)
            actions.append(np.broadcast_to(action, 2).tolist())
        played.append(actions)
    assert played[0] == played[1]


def test_a_batch_and_another_grid() -> None:
    env = _env(**UNITS)
    policy = POLICIES["magnitude"].for_env(env)
    rules = KnownRules.of(env)
    assert rules is not None
    rows = [observation for observation, _ in _walk(env, 0)]
    batch = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    singles = [int(policy.predict(row)[0]) for row in rows]
    assert policy.predict(batch)[0].tolist() == singles
    other = _env(model="landscape:layers=2,heads=4").reset(seed=0)[0]
    batch = {key: value[None] for key, value in other.items()}
    assert np.array_equal(rules.legal(batch), legal_actions(batch))


def test_what_is_no_environment_of_this_package_tells_nothing() -> None:
    assert KnownRules.of(gym.make("CartPole-v1")) is None


def test_an_agent_knows_the_rules_that_it_learned_in() -> None:
    env = _env(**UNITS)
    agent = POLICIES["epsilon-greedy"](UNIT_METRICS)
    agent.learn(env, total_steps=10)
    for observation, legal in _walk(env, 1):
        assert legal[int(agent.predict(observation, deterministic=True)[0])]
