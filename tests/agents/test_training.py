"""Training from folder to folder."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from prune_env.agents import load_agent
from prune_env.agents.training import TrainSettings, train
from prune_env.errors import OutputExistsError, SettingsError, StateError
from prune_env.files import read_json
from prune_env.locking import locked

SETTINGS = TrainSettings(
    algorithm="epsilon-greedy",
    env="prune_env/Landscape-v0",
    env_arguments={"model": "landscape:layers=2,heads=4", "tau": 0.8},
    total_steps=60,
    save_every=20,
    test_every=4,
)
PPO = replace(
    SETTINGS, algorithm="ppo", hyperparameters={"num_envs": 2, "n_steps": 8, "batch_size": 16}
)


@pytest.mark.parametrize("settings", [SETTINGS, PPO], ids=["epsilon-greedy", "ppo"])
def test_a_run_leaves_what_it_promises(settings: TrainSettings, tmp_path: Path):
    result = train(settings, tmp_path / "run")
    assert result.signal is None
    assert result.agent.record.steps >= 60
    assert read_json(tmp_path / "run" / "best.json") == result.best
    assert load_agent(tmp_path / "run" / "best").metrics == result.agent.metrics
    assert load_agent(tmp_path / "run" / "agent").record.state() == result.agent.record.state()
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))
    with pytest.raises(OutputExistsError):
        train(settings, tmp_path / "run")


@pytest.mark.parametrize("settings", [SETTINGS, PPO], ids=["epsilon-greedy", "ppo"])
def test_interrupted_and_resumed_it_ends_alike(
    settings: TrainSettings, tmp_path: Path, monkeypatch
):
    whole = train(settings, tmp_path / "whole")

    def interrupt(self, report):
        if report.number == 5:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("prune_env.agents.callbacks.TensorBoard.__call__", interrupt)
        stopped = train(settings, tmp_path / "run")
    assert stopped.signal == signal.SIGTERM
    assert stopped.agent.record.steps < whole.agent.record.steps
    resumed = train(settings, tmp_path / "run", resume=True)
    assert resumed.agent.record.state() == whole.agent.record.state()


def test_changed_settings_are_refused_with_the_difference(tmp_path: Path):
    train(SETTINGS, tmp_path / "run")
    with pytest.raises(StateError, match=r"Expected: seed=0\. Actual: seed=1"):
        train(replace(SETTINGS, seed=1), tmp_path / "run", resume=True)


def test_two_processes_do_not_share_a_folder(tmp_path: Path):
    with locked(tmp_path / "run"), pytest.raises(StateError, match="Another process"):
        train(SETTINGS, tmp_path / "run")


def test_patience_ends_it(tmp_path: Path):
    result = train(replace(SETTINGS, total_steps=5000, patience=5), tmp_path / "run")
    record = result.agent.record
    assert record.episodes - record.best_episode == 5


def test_unknown_hyperparameters_and_bad_numbers_are_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match="total_steps"):
        TrainSettings(total_steps=0)
    with pytest.raises(SettingsError, match="no hyperparameter hiden"):
        train(replace(SETTINGS, hyperparameters={"hiden": 3}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
