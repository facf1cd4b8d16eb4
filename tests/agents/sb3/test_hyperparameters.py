"""Hyperparameters from readable files."""

import inspect

import pytest

from prune_env.agents.sb3.hyperparameters import (
    OURS,
    RANGES,
    RESERVED,
    build_arguments,
    load_hyperparameters,
)
from prune_env.env.policy import POLICIES
from prune_env.errors import SettingsError

ALGORITHMS = ["a2c", "dqn", "maskable_ppo", "ppo"]


def _load(algorithm: str, env_id: str | None = None, **changes):
    return load_hyperparameters(algorithm, POLICIES[algorithm].model_class, env_id, changes)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_file_is_complete(algorithm: str):
    held = _load(algorithm)
    assert {"num_envs", "width", "learning_rate"} <= set(held)
    assert set(_load(algorithm, "prune_env/MiniLM-v0")) == set(held)


def test_changes_win():
    assert _load("ppo", n_epochs=3)["n_epochs"] == 3


def test_a_schedule_falls_linearly():
    arguments = build_arguments({"learning_rate": {"start": 1.0, "end": 0.0}, "num_envs": 3})
    assert set(arguments) == {"learning_rate"}
    assert [arguments["learning_rate"](left) for left in (1.0, 0.25, 0.0)] == [1.0, 0.25, 0.0]


def test_unknown_names_are_refused():
    with pytest.raises(SettingsError, match="no hyperparameter n_epoch, seed"):
        _load("ppo", n_epoch=3, seed=1)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_envs", 0), ("width", True), ("learning_rate", "abc"), ("learning_rate", -1),
        ("width", 4097),
        ("learning_rate", {"from": 1}), ("learning_rate", {"start": 0.1, "end": "abc"}),
        ("learning_rate", None), ("gamma", 5), ("gamma", {"start": 1.0, "end": 0.9}),
        ("gamma", float("nan")), ("n_steps", -1), ("n_steps", 2.5), ("n_steps", "abc"),
        ("max_grad_norm", 0), ("max_grad_norm", float("inf")),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused(algorithm: str, name: str, value: object):
    told = rf"{name}.*Expected: .*Actual: .*Remedy: see .*yaml"
    if (algorithm, name) == ("dqn", "n_steps"):  # whatever the value: see `load_hyperparameters`
        told = "dqn has no hyperparameter n_steps"
    with pytest.raises(SettingsError, match=told):
        POLICIES[algorithm](hyperparameters={name: value})


@pytest.mark.parametrize(
    ("algorithm", "changes", "message"),
    [
        ("dqn", {"buffer_size": 0}, "buffer_size"),
        ("dqn", {"buffer_size": 63}, "buffer_size.*int >= 64.*63"),
        ("dqn", {"exploration_final_eps": 1.5}, "exploration_final_eps"),
        ("dqn", {"exploration_fraction": 0}, "exploration_fraction"),
        ("dqn", {"tau": -0.1}, "tau"),
        ("dqn", {"gradient_steps": 0}, "gradient_steps"),
        ("dqn", {"train_freq": [4, "step"]}, "train_freq"),
        ("dqn", {"learning_starts": -1}, "learning_starts"),
        ("ppo", {"gae_lambda": 1.1}, "gae_lambda"),
        ("ppo", {"clip_range": 0}, "clip_range"),
        ("ppo", {"clip_range_vf": "abc"}, "clip_range_vf"),
        ("ppo", {"target_kl": 0}, "target_kl"),
        ("ppo", {"normalize_advantage": "abc"}, "normalize_advantage"),
        ("ppo", {"batch_size": 1}, "normalize_advantage"),
        ("maskable_ppo", {"ent_coef": -0.1}, "ent_coef"),
        ("maskable_ppo", {"n_epochs": 0}, "n_epochs"),
        ("a2c", {"num_envs": 1, "n_steps": 1}, "normalize_advantage"),
        ("a2c", {"rms_prop_eps": 0}, "rms_prop_eps"),
    ],
)
def test_values_that_no_algorithm_learns_with_are_refused(algorithm, changes, message):
    with pytest.raises(SettingsError, match=message):
        POLICIES[algorithm](hyperparameters=changes)


def test_whole_numbers_and_nothing_are_taken_where_they_mean_something():
    held = _load("ppo", clip_range_vf=None, target_kl=None, gamma=1, learning_rate=1)
    assert (held["gamma"], held["clip_range_vf"]) == (1, None)
    assert _load("dqn", gradient_steps=-1, learning_starts=0)["gradient_steps"] == -1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_name_has_a_range(algorithm: str):
    known = set(inspect.signature(POLICIES[algorithm].model_class).parameters) - RESERVED
    assert known | OURS <= set(RANGES)
