"""Hyperparameters from readable files."""

import pytest

from prune_env.agents.sb3.hyperparameters import build_arguments, load_hyperparameters
from prune_env.errors import SettingsError
from prune_env.policy import POLICIES

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
    with pytest.raises(SettingsError, match="num_envs"):
        _load("ppo", num_envs=0)
    with pytest.raises(SettingsError, match="schedule"):
        build_arguments({"learning_rate": {"from": 1}})
