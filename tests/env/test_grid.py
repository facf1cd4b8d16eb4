"""The space of numbers over layers and heads."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from prune_env.env.observation import HeadGrid

GRID = HeadGrid(-2, 3, (2, 3, 4), seed=0)


def test_it_holds_bounded_floats_of_its_shape():
    assert all(GRID.sample() in GRID for _ in range(10))
    value = np.zeros((2, 3, 4), np.float32)
    assert value in GRID
    for wrong in (
        value.astype(np.float64),
        value[0],
        value + 4,
        value - 3,
        value * np.nan,
        value.tolist(),
        None,
    ):
        assert wrong not in GRID


def test_samples_fill_the_range():
    values = np.stack([GRID.sample() for _ in range(100)])
    assert values.min() < -1.9
    assert values.max() > 2.9


def test_masks_for_sampling_are_refused():
    with pytest.raises(NotImplementedError):
        GRID.sample(mask=np.ones((2, 3, 4), np.int8))


def test_it_equals_its_like_only():
    assert HeadGrid(-2, 3, (2, 3, 4)) == GRID
    for other in (
        HeadGrid(-2, 2, (2, 3, 4)),
        HeadGrid(-2, 3, (2, 3)),
        spaces.MultiBinary((2, 3, 4)),
    ):
        assert other not in [GRID]
        assert GRID not in [other]


def test_it_batches_to_a_box():
    batch = batch_space(GRID, 5)
    assert batch == spaces.Box(-2, 3, (5, 2, 3, 4), np.float32)
    samples = [GRID.sample() for _ in range(5)]
    array = concatenate(GRID, samples, create_empty_array(GRID, 5))
    assert array in batch
    assert array.dtype == np.float32
    for one, other in zip(iterate(batch, array), samples, strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_flattens_to_a_box():
    assert spaces.flatten_space(GRID) == spaces.Box(-2, 3, (24,), np.float32)
    sample = GRID.sample()
    flat = spaces.flatten(GRID, sample)
    assert flat in spaces.flatten_space(GRID)
    np.testing.assert_array_equal(spaces.unflatten(GRID, flat), sample)


def test_json_brings_samples_back():
    samples = [GRID.sample() for _ in range(3)]
    again = GRID.from_jsonable(GRID.to_jsonable(samples))
    np.testing.assert_array_equal(again, samples)


def test_asynchronous_environments_carry_it():
    def make():
        return gym.make("prune_env/Landscape-v0", model="landscape:layers=2,heads=2")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs = gym.vector.AsyncVectorEnv([make, make], context="fork")
        observations, _ = envs.reset(seed=0)
        assert observations in envs.observation_space
        envs.close()
