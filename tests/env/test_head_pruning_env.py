"""The environment as users of Gymnasium and Stable-Baselines3 meet it."""

import copy
import pickle
import re
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import DependencyNotInstalled, MissingArgument, ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FlattenObservation, TimeLimit
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.registration import register_environments
from prune_env.errors import SettingsError, UnknownNameError
from tests.env.support import PrescribedEvaluator, env_over, falls_by, random_legal

HEADINGS = [
    "Description",
    "Action Space",
    "Observation Space",
    "Rewards",
    "Starting State",
    "Episode End",
    "Information",
    "Arguments",
    "Version History",
]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"prune_step": 5, "max_evaluations": 3, "reward": "sparsity + 2 * accuracy"},
        {"observation": "mask,importance,status,legal", "backtrack": False, "tau": 1.0},
        {"model": None, "pool": ["landscape:layers=1,heads=1", "landscape:layers=3,heads=5"]},
    ],
)
def test_both_checkers_are_silent(arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("prune_env/Landscape-v0", **arguments)
        check_env(env.unwrapped)
        flat = gym.make("prune_env/Landscape-v0", flat=True, **arguments)
        check_env(flat.unwrapped)
        check_env_for_sb3(flat, skip_render_check=False)
        check_env_for_sb3(FlattenObservation(env), skip_render_check=False)


def test_of_layers_times_heads_stable_baselines3_says_only_that_they_are_no_vector():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env_for_sb3(gym.make("prune_env/Landscape-v0"), skip_render_check=False)
    assert caught
    for each in caught:
        assert re.search("unconventional shape|is an image|minimal resolution", str(each.message))


def test_the_specification_survives_json():
    spec = gym.make(
        "prune_env/HeadPruning-v0",
        model="landscape:layers=2,heads=4,seed=3",
        tau=0.7,
        metrics="magnitude,gate_gradient",
        max_episode_steps=9,
    ).spec
    again = EnvSpec.from_json(spec.to_json())
    assert again == spec
    env = again.make()
    assert isinstance(env, TimeLimit)
    assert env.unwrapped.shape == (2, 4)
    assert env.unwrapped.metrics == ("magnitude", "gate_gradient")
    assert env.unwrapped.settings.tau == 0.7


def test_the_class_has_gymnasiums_headings():
    assert re.findall(r"^## (.*)$", HeadPruningEnv.__doc__, re.MULTILINE) == HEADINGS or (
        re.findall(r"^ +## (.*)$", HeadPruningEnv.__doc__, re.MULTILINE) == HEADINGS
    )


def test_the_docs_name_every_argument_and_every_info():
    env = env_over(PrescribedEvaluator(falls_by(0.0)))
    _, info = env.reset()
    parameters = set(HeadPruningEnv.__init__.__annotations__) - {"return"}
    for name in [*parameters, *info]:
        assert f"`{name}`" in HeadPruningEnv.__doc__


def test_arrays_that_were_handed_out_may_be_changed():
    env = env_over(PrescribedEvaluator(falls_by(0.01)))
    kept = env_over(PrescribedEvaluator(falls_by(0.01)))
    for step in range(3):
        told, expected = (e.reset() if step == 0 else e.step(step) for e in (env, kept))
        for part, value in told[0].items():
            np.testing.assert_array_equal(value, expected[0][part])
            value[:] = -5
        told[-1]["mask"][:] = False
        told[-1]["action_mask"][:] = 0
        env.mask[:] = False
        env.available[:] = False
        env.action_masks()[:] = False
    assert env.step(3)[4]["heads_pruned"] == 3


@pytest.mark.parametrize(
    "clone",
    [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env)), HeadPruningEnv.fork],
    ids=["deepcopy", "pickle", "fork"],
)
def test_a_copy_in_mid_episode_is_independent(clone):
    pool = ["landscape:layers=2,heads=4,seed=1", "landscape:layers=3,heads=3,seed=2"]
    env = HeadPruningEnv(pool=pool, prune_step=3, tau=0.0)
    env.reset(seed=1)
    env.step(1)
    other = clone(env)
    assert other.evaluator is env.evaluator
    for action in (2, 3):
        other.step(action)
    assert env.episode.actions == [1]
    for action in (2, 3):
        mine = env.step(action)
    again = clone(env)
    assert mine[4]["model"] == again.episode.board.subject.name
    for one, two in ((env, other), (env, again)):
        answers = one.fork().step(4), two.step(4)
        assert answers[0][1:4] == answers[1][1:4]
        np.testing.assert_array_equal(answers[0][4]["mask"], answers[1][4]["mask"])
    seeds = [[e.reset()[1]["model"] for _ in range(10)] for e in (env, other)]
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 2


def test_order_is_enforced_and_closing_twice_allowed():
    env = gym.make("prune_env/Landscape-v0")
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.close()
    env.close()


def test_masks_reach_policies_both_ways():
    env = gym.make("prune_env/Landscape-v0", tau=0.5)
    _, info = env.reset()
    env.step(4)
    legal = env.get_wrapper_attr("action_masks")()
    assert legal.dtype == np.bool_
    assert not legal[4]
    info = env.step(-1)[4]
    np.testing.assert_array_equal(info["action_mask"], legal)
    env.action_space.seed(0)
    draws = {int(env.action_space.sample(info["action_mask"])) for _ in range(500)}
    assert 4 not in draws
    assert 72 in draws


class LeastImportant:
    """A policy as evaluate_policy asks for it, and no more."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        kept = observation["mask"] > 0.5
        costs = np.where(kept, observation["importance"][..., 1], np.inf)
        return costs.reshape(len(costs), -1).argmin(axis=1), state


def test_evaluate_policy_takes_any_policy():
    env = Monitor(gym.make("prune_env/Landscape-v0"))
    rewards, lengths = evaluate_policy(
        LeastImportant(), env, n_eval_episodes=2, return_episode_rewards=True
    )
    assert rewards[0] == rewards[1]
    # The last step broke tau and was taken back.
    assert rewards[0] == pytest.approx((lengths[0] - 1) / 72, abs=1e-6)


def test_flattening_wrappers_know_the_bounds():
    env = FlattenObservation(gym.make("prune_env/Landscape-v0"))
    observation, _ = env.reset()
    assert observation in env.observation_space
    assert env.observation_space.low.min() == -10


def test_a_pool_is_padded_and_the_padding_illegal():
    pool = ["landscape:layers=2,heads=3", "landscape:layers=3,heads=2"]
    env = HeadPruningEnv(pool=pool, tau=0.0)
    for name, shape in zip(pool, [(2, 3), (3, 2)], strict=True):
        observation, info = env.reset(options={"model": name})
        exists = np.zeros((3, 3), bool)
        exists[: shape[0], : shape[1]] = True
        assert info["model"] == name
        assert observation["mask"].sum() == 6
        np.testing.assert_array_equal(info["action_mask"][:-1].reshape(3, 3), exists)
        np.testing.assert_array_equal(env.available, exists)
        assert (observation["importance"][~exists] == 0).all()
        assert env.mask.shape == shape
        assert env.evaluator.shape == shape
        assert env.step(8)[4]["illegal"] == "no such head"


def test_a_model_may_be_named_at_reset():
    env = HeadPruningEnv("landscape:layers=3,heads=3")
    _, info = env.reset(options={"model": "landscape:layers=2,heads=2,seed=5"})
    assert info["model"] == "landscape:layers=2,heads=2,seed=5"
    assert env.reset()[1]["model"] == "landscape:layers=3,heads=3"
    with pytest.raises(SettingsError, match="does not fit"):
        env.reset(options={"model": "landscape:layers=4,heads=2"})


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"model": "landscape", "pool": ["landscape"]},
        {"evaluator": PrescribedEvaluator(falls_by(0.0))},
        {"evaluator": PrescribedEvaluator(falls_by(0.0)), "importance": np.zeros((2, 4, 3))},
        {"model": "landscape", "observation": ""},
        {"model": "landscape", "observation": "mask,mask"},
        {"model": "landscape", "render_mode": "film"},
        {"model": "landscape:sides=3"},
        {"model": "landscape:layers=x"},
        {"model": "landscape:layers=0"},
        {"model": "some/folder"},
        {"pool": []},
        {"pool": ["landscape", "landscape"]},
    ],
)
def test_contradicting_arguments_are_named(arguments):
    with pytest.raises(SettingsError) as caught:
        HeadPruningEnv(**arguments)
    assert "Expected" in str(caught.value) or "Remedy" in str(caught.value)


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
def test_rules_that_keep_all_of_a_model_are_refused(make):
    small, large = "landscape:layers=1,heads=3", "landscape:layers=2,heads=4"
    with pytest.raises(SettingsError, match=r"=99, and 12 heads.*at most min_heads_per_layer=11,"):
        make("prune_env/Landscape-v0", min_heads_per_layer=99)
    with pytest.raises(SettingsError, match=f"Nothing of the model {small} can be pruned"):
        make("prune_env/Landscape-v0", model=None, pool=[large, small], min_heads_per_layer=3)
    env = make("prune_env/Landscape-v0", model=large, min_heads_per_layer=3)
    with pytest.raises(SettingsError, match=f"Nothing of the model {small} can be pruned"):
        env.reset(options={"model": small})
    make("prune_env/Landscape-v0", model=f"{large},groups=2", min_heads_per_layer=99)


@pytest.mark.parametrize(
    "arguments", [{"reward": "sparsty"}, {"observation": "masks"}, {"model": "x", "data": "sst3"}]
)
def test_an_unknown_name_is_answered_with_the_known_ones(arguments):
    with pytest.raises(UnknownNameError, match="Expected: one of"):
        HeadPruningEnv(**{"model": "landscape", **arguments})


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
def test_without_arguments_a_sweep_over_the_registry_goes_on(make):
    with pytest.raises(MissingArgument, match="exactly one of model, evaluator, pool"):
        make("prune_env/HeadPruning-v0")


def test_a_window_without_pygame_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(DependencyNotInstalled, match=r"pip install 'prune-env\[render\]'"):
        gym.make("prune_env/Landscape-v0", render_mode="human")


def test_registering_again_changes_nothing():
    before = dict(gym.registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_environments("elsewhere:Env", "elsewhere:VectorEnv")
    assert dict(gym.registry) == before


def test_a_random_episode_ends_within_the_heads():
    env = HeadPruningEnv("landscape", tau=0.0)
    _, info = env.reset()
    random = np.random.default_rng(0)
    for _ in range(66):
        info = env.step(random_legal(info, random, stop=False))[4]
    assert info["heads_pruned"] == 66
    assert info["action_mask"].sum() == 1
