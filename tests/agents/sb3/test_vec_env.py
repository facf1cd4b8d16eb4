"""The adapter plays what Stable-Baselines3's own vector environment plays over single ones."""

import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.wrappers import TimeLimit
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

import prune_env  # noqa: F401 - registers the environments
from prune_env.agents.epsilon_greedy.agent import EpsilonGreedy
from prune_env.agents.sb3.vec_env import LegalVecEnv, PruneVecEnv
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.errors import SettingsError

POOL = ["landscape:layers=2,heads=3,seed=1", "landscape:layers=3,heads=2,seed=2"]
RULES = {"prune_step": 2, "tau": 0.8, "illegal_penalty": 0.05}
ARGUMENTS = {"pool": POOL, "max_episode_steps": 6, **RULES}


def _single() -> gym.Env:
    return gym.make("prune_env/HeadPruning-v0", **ARGUMENTS)


def _adapter(num_envs: int) -> PruneVecEnv:
    return PruneVecEnv.beside(_single(), num_envs)


@pytest.mark.parametrize("num_envs", [1, 8])
def test_trajectories_are_those_of_single_environments(num_envs: int):
    reference = DummyVecEnv([lambda: Monitor(_single())] * num_envs)
    envs = _adapter(num_envs)
    for each in (reference, envs):
        each.seed(3)
    assert data_equivalence(dict(reference.reset()), envs.reset(), exact=True)
    random = np.random.default_rng(0)
    ends = {True: 0, False: 0}
    for _ in range(60):
        actions = random.integers(-1, 11, size=num_envs)  # illegal ones too
        expected, found = reference.step(actions), envs.step(actions)
        assert data_equivalence(dict(expected[0]), found[0], exact=True)
        for one, other in zip(expected[1:3], found[1:3], strict=True):
            assert data_equivalence(one, other, exact=True)
        for one, other, done in zip(expected[3], found[3], found[2], strict=True):
            if done:
                ends[other["TimeLimit.truncated"]] += 1
                assert one["episode"]["l"] == other["episode"]["l"]
                assert one["episode"]["r"] == pytest.approx(other["episode"]["r"], abs=1e-6)
                del one["episode"], other["episode"]
            assert data_equivalence(one, other, exact=True)
    assert min(ends.values()) > 0
    assert found[0]["mask"].shape == (num_envs, 3, 3)


def test_maskable_ppo_finds_the_masks():
    envs = _adapter(4)
    envs.reset()
    assert is_masking_supported(envs)
    masks = get_action_masks(envs)
    assert masks.shape == (4, 10)
    assert np.array_equal(masks, envs.action_masks())
    assert envs.env_method("action_masks", indices=2)[0].tolist() == masks[2].tolist()


def test_attributes_by_name():
    envs = _adapter(2)
    assert envs.has_attr("evaluator")
    assert envs.get_attr("metrics")[1] == envs.core.pool.metrics
    assert not envs.has_attr("made_up")
    envs.reset()
    # As `HeadPruningEnv.mask`: in the shape of the model that is played, not padded.
    played = envs.get_attr("subject")[0]
    assert envs.get_attr("mask")[0].shape == played.units.shape != envs.core.pool.shape
    assert envs.get_attr("accuracy", [1])[0] > 0.8
    with pytest.raises(SettingsError, match="tau"):
        envs.set_attr("tau", 0.5)


def test_options_choose_the_model():
    envs = _adapter(2)
    envs.set_options([{"model": name} for name in POOL])
    envs.reset()
    assert [info["model"] for info in envs.reset_infos] == POOL


def test_saved_in_the_middle_it_goes_on_equally():
    envs, twin = _adapter(3), _adapter(3)
    envs.seed(1)
    envs.reset()
    random = np.random.default_rng(0)
    for _ in range(4):
        envs.step(random.integers(10, size=3))
    twin.restore(json.loads(json.dumps(envs.save())))
    for _ in range(20):
        actions = random.integers(-1, 11, size=3)
        for one, other in zip(envs.step(actions), twin.step(actions), strict=True):
            assert data_equivalence(one, other, exact=True)


def test_evaluate_policy_takes_it_without_a_warning(recwarn):
    policy = EpsilonGreedy.for_env(_single())
    mean, _ = evaluate_policy(policy, _adapter(2), n_eval_episodes=4)
    assert 0 <= mean <= 1
    assert not recwarn.list


def test_pictures_are_tiled():
    single = gym.make("prune_env/Landscape-v0", render_mode="rgb_array")
    envs = PruneVecEnv.beside(single, 4)
    envs.reset()
    assert envs.render().shape == (960, 960, 3)


@pytest.mark.parametrize("limits", [[2], [2, 5], [5, 2], []])
def test_time_limits_around_an_environment_without_an_id_are_kept(limits: list[int]):
    env: gym.Env = HeadPruningEnv("landscape:layers=2,heads=4,sentences=50", tau=0.0)
    for limit in limits:
        env = TimeLimit(env, limit)
    envs = PruneVecEnv.beside(env, 1)
    envs.reset()
    dones = [bool(envs.step(np.array([-1]))[2][0]) for _ in range(4)]
    assert dones == ([False, True] * 2 if limits else [False] * 4)


def test_foreign_environments_are_refused():
    with pytest.raises(SettingsError, match="CartPole"):
        PruneVecEnv.beside(gym.make("CartPole-v1"), 2)
    with pytest.raises(SettingsError, match="rgb_array"):
        PruneVecEnv(_adapter(1).core, render_mode="ansi")


def test_what_the_last_state_of_an_episode_allows_is_shown():
    envs = LegalVecEnv(_adapter(1))
    envs.reset()
    stop = int(envs.action_space.n) - 1
    observation, _, dones, infos = envs.step(np.array([stop]))
    assert dones.tolist() == [True]
    assert infos[0]["terminal_observation"]["legal"].tolist() == [0] * stop + [1]
    assert observation["legal"].sum() > 1
