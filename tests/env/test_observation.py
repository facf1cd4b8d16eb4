"""What is seen."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import PPO

from prune_env.agents.sb3.policies import SetActorCriticPolicy
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.observation import OBSERVATIONS, ObservationPart, is_single
from prune_env.env.policy import POLICIES
from prune_env.env.subject import Subject, split_names
from prune_env.errors import SettingsError
from tests.env.support import PrescribedEvaluator, falls_by


def subject_with(columns, available=None):
    evaluator = PrescribedEvaluator(falls_by(0.0), available=available)
    metrics = tuple(f"metric-{index}" for index in range(len(columns)))
    return Subject(evaluator, np.stack([np.reshape(c, (2, 4)) for c in columns], axis=2), metrics)


def test_importance_is_standardised_by_metric_and_keeps_its_order():
    values = np.array([3.0, 1, 4, 1.5, 9, 2, 6, 5])
    scaled = subject_with([values, 1e300 * values, 1e-300 * values]).scaled_importance()
    assert scaled.dtype == np.float32
    for index in range(3):
        column = scaled[..., index].ravel()
        np.testing.assert_allclose([column.mean(), column.std()], [0, 1], atol=1e-6)
        np.testing.assert_array_equal(column.argsort(), values.argsort())


def test_a_constant_metric_is_zero_and_its_rounding_noise_too():
    noise = 1 / 12 + 1e-17 * np.arange(8)
    scaled = subject_with([np.zeros(8), np.full(8, 7.0), noise]).scaled_importance()
    assert (scaled == 0).all()


def test_an_outlier_is_clipped():
    values = np.zeros(200 * 2)
    values[0] = 1
    evaluator = PrescribedEvaluator(lambda mask: 1.0, shape=(2, 200))
    scaled = Subject(evaluator, values.reshape(2, 200, 1), ("m",)).scaled_importance()
    assert scaled.max() == 10


def test_heads_that_do_not_exist_do_not_count():
    available = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)
    values = np.array([1.0, 2, 3, 4, 5, 6, np.nan, 1e9])
    scaled = subject_with([values], available).scaled_importance()
    assert (scaled[~available] == 0).all()
    np.testing.assert_allclose(scaled[available].std(), 1, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_importance_must_be_finite(bad):
    values = np.ones(8)
    values[3] = bad
    with pytest.raises(SettingsError, match="NaN or Inf in metric-1"):
        subject_with([np.ones(8), values])


def test_a_metric_is_named_once():
    with pytest.raises(SettingsError, match="twice"):
        Subject(PrescribedEvaluator(falls_by(0)), np.zeros((2, 4, 2)), ("m", "m"))


def test_status_holds_accuracy_margin_share_and_budget():
    env = HeadPruningEnv(
        subject_with([np.arange(8)]), observation="status", tau=0.75, max_evaluations=4
    )
    env.evaluator.accuracy_of = falls_by(0.0625)
    env.reset()
    observation = env.step(0)[0]
    assert list(observation) == ["status"]
    np.testing.assert_array_equal(observation["status"], np.float32([0.9375, 0.1875, 0.125, 0.75]))


def test_legal_is_the_action_mask():
    env = HeadPruningEnv("landscape:layers=2,heads=2", observation=["legal"], tau=0.0)
    env.reset()
    observation, _, _, _, info = env.step(0)
    np.testing.assert_array_equal(observation["legal"], info["action_mask"])


def test_users_add_their_own_part():
    class Depth(ObservationPart):
        """Float32 (1,): how many heads are pruned."""

        name = "count"
        source = "this test"

        def space(self, pool):
            return spaces.Box(0, 100, (1,), np.float32)

        def build(self, episode):
            return np.array([episode.heads_pruned], np.float32)

    OBSERVATIONS.register("count", Depth, help="how many heads are pruned")
    try:
        env = HeadPruningEnv("landscape", observation="status,count", tau=0.0)
        env.reset()
        observation = env.step(0)[0]
        assert observation["count"] == 1
        assert observation in env.observation_space
    finally:
        del OBSERVATIONS._entries["count"]


def test_every_part_says_what_it_is():
    for entry in OBSERVATIONS:
        part = entry.load()
        assert part.name == entry.name
        assert part.source
        assert entry.help.endswith(".")


def test_names_may_be_one_string():
    assert split_names(" a, b,") == split_names(["a", "b"]) == ("a", "b")


def test_every_part_is_a_box_of_its_shape():
    env = HeadPruningEnv("landscape", observation="mask,importance,status,legal")
    shapes = {"mask": (6, 12), "importance": (6, 12, 4), "status": (4,), "legal": (73,)}
    for name, shape in shapes.items():
        space = env.observation_space[name]
        assert type(space) is spaces.Box
        assert (space.shape, space.dtype) == (shape, np.float32)


def test_flat_parts_hold_the_same_numbers():
    arguments = {"observation": "mask,importance,status,legal", "tau": 0.5}
    env = HeadPruningEnv("landscape", **arguments)
    flat = HeadPruningEnv("landscape", flat=True, **arguments)
    for one, other in ((env.reset(seed=0), flat.reset(seed=0)), (env.step(5), flat.step(5))):
        assert other[0] in flat.observation_space
        for name, value in one[0].items():
            assert flat.observation_space[name].shape == (value.size,)
            np.testing.assert_array_equal(other[0][name], value.ravel())


def test_agents_that_see_heads_refuse_flat_parts():
    env = gym.make("prune_env/Landscape-v0", flat=True)
    observation, _ = env.reset(seed=0)
    for policy in ("epsilon-greedy", "gradient"):
        with pytest.raises(SettingsError, match="flat"):
            POLICIES[policy].for_env(env).predict(observation)
    with pytest.raises(SettingsError, match="flat"):
        PPO(SetActorCriticPolicy, env)


@pytest.mark.parametrize("parts", [{}, {"importance": 2}])
def test_one_episode_is_told_from_a_batch_and_from_flat_parts(parts):
    """Flat parts of a batch have as many axes as those of one episode that are not flat."""
    sizes = {"mask": (2, 4), **{name: (2, 4, columns) for name, columns in parts.items()}}
    one = {name: np.zeros(size) for name, size in sizes.items()}
    assert is_single(one)
    assert not is_single({name: value[None] for name, value in one.items()})
    for flat in (
        {name: value.ravel() for name, value in one.items()},
        {"importance": np.zeros((3, 16)), "mask": np.zeros((3, 8))},
    ):
        with pytest.raises(SettingsError, match="flat"):
            is_single(flat)


def test_asynchronous_environments_carry_it():
    def make():
        return gym.make("prune_env/Landscape-v0", model="landscape:layers=2,heads=2")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs = gym.vector.AsyncVectorEnv([make, make], context="fork")
        observations, _ = envs.reset(seed=0)
        assert observations in envs.observation_space
        envs.close()
