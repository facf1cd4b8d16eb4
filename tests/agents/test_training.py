"""Training from folder to folder."""

import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from prune_env.agents import checkpoint, load_agent
from prune_env.agents.checkpoint import read_checkpoint
from prune_env.agents.epsilon_greedy.agent import EpsilonGreedy
from prune_env.agents.record import asked_masks
from prune_env.agents.tensorboard import TensorBoard
from prune_env.agents.train_settings import TrainSettings
from prune_env.agents.trained import TrainedPolicy
from prune_env.agents.training import train
from prune_env.env.landscape import landscape_subject
from prune_env.errors import (
    OutputExistsError,
    SettingsError,
)
from prune_env.models import load_mask
from prune_env.utils.files import read_json, write_json
from tests.agents.support import PPO, SETTINGS
from tests.house import ROOT


@pytest.mark.parametrize("settings", [SETTINGS, PPO], ids=["epsilon-greedy", "ppo"])
def test_a_run_leaves_what_it_promises(settings: TrainSettings, tmp_path: Path):
    result = train(settings, tmp_path / "run")
    assert result.signal is None
    assert read_json(tmp_path / "run" / "report.json") == result.report
    assert result.report["evaluations"] > 0
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
        patch.setattr("prune_env.agents.tensorboard.TensorBoard.__call__", interrupt)
        stopped = train(settings, tmp_path / "run")
    assert stopped.signal == signal.SIGTERM
    assert stopped.agent.record.steps < whole.agent.record.steps
    resumed = train(settings, tmp_path / "run", resume=True)
    assert resumed.agent.record.state() == whole.agent.record.state()
    assert resumed.best == whole.best
    assert resumed.report["evaluations"] == whole.report["evaluations"]


@pytest.mark.parametrize("settings", [SETTINGS, PPO], ids=["epsilon-greedy", "ppo"])
def test_a_checkpoint_is_read_once(
    settings: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A second reading could find what another process has written meanwhile."""
    train(settings, tmp_path)
    read, read_one = [], checkpoint._read
    monkeypatch.setattr(checkpoint, "_read", lambda path: read.append(path) or read_one(path))
    train(settings, tmp_path, resume=True)
    assert [path.parent.name for path in read].count("agent") == 1
    read.clear()
    TrainedPolicy(tmp_path / "agent")
    assert len(read) == 1


@pytest.mark.parametrize("settings", [SETTINGS, PPO], ids=["epsilon-greedy", "ppo"])
def test_a_budget_of_evaluations_spans_interruptions(
    settings: TrainSettings, tmp_path: Path, monkeypatch
):
    """What was asked before the interruption is not asked anew, and not forgotten."""
    settings = replace(settings, total_steps=5000, max_evaluations=40)
    whole = train(settings, tmp_path / "whole")
    assert 40 <= whole.report["evaluations"] < 44  # two episodes may ask side by side
    assert whole.agent.record.steps < 5000

    def interrupt(self, report):
        if report.number == 4:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("prune_env.agents.tensorboard.TensorBoard.__call__", interrupt)
        stopped = train(settings, tmp_path / "run")
    assert 0 < stopped.report["evaluations"] < 40
    resumed = train(settings, tmp_path / "run", resume=True)
    assert resumed.agent.record.state() == whole.agent.record.state()
    assert resumed.report["evaluations"] == whole.report["evaluations"]
    again = train(settings, tmp_path / "run", resume=True)
    assert again.agent.record.state() == whole.agent.record.state()


def test_killed_before_the_first_checkpoint_it_begins_again(tmp_path: Path):
    whole = train(SETTINGS, tmp_path / "whole")
    write_json(tmp_path / "run" / "settings.json", asdict(SETTINGS))
    (tmp_path / "run" / "agent").mkdir()
    resumed = train(SETTINGS, tmp_path / "run", resume=True)
    assert resumed.agent.record.state() == whole.agent.record.state()


def test_a_run_that_begins_again_tells_its_settings_once(tmp_path: Path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpsilonGreedy, "learn", killed)
        with pytest.raises(KeyboardInterrupt):
            train(SETTINGS, tmp_path)
    train(SETTINGS, tmp_path, resume=True)
    assert len(list(tmp_path.glob("events.out.*"))) == 2
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert len(events.Tensors("run/settings/text_summary")) == 1
    assert len(events.Scalars("rollout/return")) > 1


def test_killed_while_the_models_are_loaded_it_can_be_resumed(tmp_path: Path):
    killed = (
        "import os, pathlib, sys\n"
        "from prune_env.agents import training\n"
        "from tests.agents.support import SETTINGS\n"
        "training.make_env = lambda *_: os._exit(9)\n"
        "training.train(SETTINGS, pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", killed, str(tmp_path / "run")]
    seen = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, env=seen, check=False).returncode == 9
    resumed = train(SETTINGS, tmp_path / "run", resume=True)
    whole = train(SETTINGS, tmp_path / "whole")
    assert resumed.agent.record.state() == whole.agent.record.state()


@pytest.mark.parametrize("settings", [SETTINGS, PPO], ids=["epsilon-greedy", "ppo"])
def test_the_share_of_remembered_masks_goes_on_where_it_was(
    settings: TrainSettings, tmp_path: Path, monkeypatch
):
    settings = replace(settings, total_steps=300)
    train(settings, tmp_path / "whole")
    write = TensorBoard.__call__

    def interrupt(self, report):
        write(self, report)
        if report.number == 20:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TensorBoard, "__call__", interrupt)
        stopped = train(settings, tmp_path / "run").agent.record
    saved = asked_masks(read_checkpoint(tmp_path / "run" / "agent").tensors)
    ticks = iter(range(10_000))
    timed = partial(TensorBoard, clock=lambda: float(next(ticks)))  # an episode a second
    with monkeypatch.context() as patch:
        patch.setattr("prune_env.agents.training.TensorBoard", timed)
        resumed = train(settings, tmp_path / "run", resume=True).report
    new = resumed["evaluations"] - sum(map(len, saved.values()))
    whole, run = (
        EventAccumulator(str(tmp_path / name), size_guidance={"scalars": 0}).Reload()
        for name in ("whole", "run")
    )
    for tag in ("time/memo_hit_rate", "time/evaluations"):
        points = [[(e.step, e.value) for e in each.Scalars(tag)] for each in (whole, run)]
        assert points[0] == points[1]
    rate = run.Scalars("time/evaluations_per_second")[-1].value
    assert rate == pytest.approx(new / (resumed["episodes"] - stopped.episodes))


def test_patience_ends_it(tmp_path: Path):
    result = train(replace(SETTINGS, total_steps=5000, patience=5), tmp_path / "run")
    record = result.agent.record
    assert record.episodes - record.best_episode == 5


@pytest.mark.parametrize("settings", [SETTINGS, PPO], ids=["epsilon-greedy", "ppo"])
def test_what_patience_ended_does_not_go_on(settings: TrainSettings, tmp_path: Path):
    settings = replace(settings, total_steps=5000, save_every=1, patience=5)
    ended = train(settings, tmp_path / "run")
    newest = sorted((tmp_path / "run" / "agent").iterdir())[-2:]
    before = [path.read_bytes() for path in newest]
    for killed in (False, True):
        if killed:  # before the last checkpoint was written
            for path in newest:
                path.unlink()
        again = train(settings, tmp_path / "run", resume=True)
        for name in ("steps", "episodes", "evaluations", "best", "best_met"):
            assert again.report[name] == ended.report[name]
        assert sorted((tmp_path / "run" / "agent").iterdir())[-2:] == newest
        assert [path.read_bytes() for path in newest] == before


def test_with_a_pool_patience_goes_by_the_tests_over_all_models(tmp_path: Path):
    pool = [f"landscape:layers=2,heads=4,seed={seed}" for seed in (0, 1)]
    settings = replace(
        SETTINGS,
        env_arguments={"model": None, "pool": pool, "tau": 0.8},
        total_steps=5000,
        patience=8,
    )
    result = train(settings, tmp_path / "run")
    record = result.agent.record
    assert record.steps < 5000
    assert record.since_best_test == 8
    assert record.episodes % 4 == 0
    assert record.best_test <= result.best["total_reward"]
    assert result.report["best_met"]["model"] in pool


def test_the_best_mask_met_is_judged_on_all_sentences(tmp_path: Path):
    result = train(replace(SETTINGS, total_steps=300), tmp_path / "run")
    met, record = result.report["best_met"], result.agent.record
    mask = np.array(met["mask"], bool)
    assert np.array_equal(mask, record.best_mask)
    subject = landscape_subject(layers=2, heads=4)
    assert met["model"] == SETTINGS.env_arguments["model"]
    assert met["accuracy"] == subject.evaluator.accuracy(mask[None])[0] >= 0.8
    assert met["heads_pruned"] == np.sum(~mask) > 0
    assert met["keeps_tau"] is True
    assert np.array_equal(load_mask(tmp_path / "run" / "best_met.json"), mask)


def test_unknown_hyperparameters_and_bad_numbers_are_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match="total_steps"):
        TrainSettings(total_steps=0)
    with pytest.raises(SettingsError, match="no hyperparameter hiden"):
        train(replace(SETTINGS, hyperparameters={"hiden": 3}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
