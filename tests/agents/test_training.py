"""Training from folder to folder."""

import signal
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from prune_env.agents import load_agent
from prune_env.agents.training import TrainSettings, train
from prune_env.data.dataset import TextDataset
from prune_env.data.writers import write_jsonl
from prune_env.errors import OutputExistsError, SettingsError, StateError, UnknownNameError
from prune_env.files import read_json, write_json
from prune_env.importance import DEFAULT_METRICS
from prune_env.loading import load_subject
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
        patch.setattr("prune_env.agents.board.TensorBoard.__call__", interrupt)
        stopped = train(settings, tmp_path / "run")
    assert stopped.signal == signal.SIGTERM
    assert stopped.agent.record.steps < whole.agent.record.steps
    resumed = train(settings, tmp_path / "run", resume=True)
    assert resumed.agent.record.state() == whole.agent.record.state()
    assert resumed.best == whole.best
    assert resumed.report["evaluations"] == whole.report["evaluations"]


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
        patch.setattr("prune_env.agents.board.TensorBoard.__call__", interrupt)
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


def test_it_may_learn_on_few_sentences_but_is_judged_on_all(
    tiny_folder: Path, tiny_data: TextDataset, tmp_path: Path
):
    data = tmp_path / "data.jsonl"
    write_jsonl(data, tiny_data)
    arguments = {"model": str(tiny_folder), "data": str(data), "tau": 0.0}
    settings = replace(
        SETTINGS,
        env="prune_env/HeadPruning-v0",
        env_arguments=arguments,
        validation_subset=16,
        test_every=2,
    )
    accuracies = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "prune_env.agents.board.TensorBoard.__call__",
            lambda self, report: accuracies.add(report.info["accuracy"]),
        )
        result = train(settings, tmp_path / "run")
    assert all((16 * accuracy).is_integer() for accuracy in accuracies)
    played = result.best["models"][0]
    subject = load_subject(str(tiny_folder), str(data), DEFAULT_METRICS)
    mask = np.array(played["mask"], bool)
    assert played["accuracy"] == subject.evaluator.accuracy(mask[None])[0]
    assert result.report["learned_on"] == "a stratified subset of 16 validation sentences"
    assert result.report["judged_on"] == "all validation sentences"

    part = subject.on_part(16)
    assert np.array_equal(part.importance, subject.importance)
    assert part.evaluator.fingerprint != subject.evaluator.fingerprint
    assert part.evaluator is subject.on_part(16).evaluator  # the same sentences, found again
    with pytest.raises(SettingsError, match="1 to 63 of 64"):
        subject.on_part(64)
    with pytest.raises(SettingsError, match="holds no texts"):
        train(replace(SETTINGS, validation_subset=5), tmp_path / "other")


def test_an_unknown_environment_is_named(tmp_path: Path):
    with pytest.raises(UnknownNameError, match=r"did you mean 'prune_env/Tiny-v0'"):
        train(replace(SETTINGS, env="prune_env/Tini-v0"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nothing_is_resumed_from_nothing(tmp_path: Path):
    with pytest.raises(StateError, match="no run to resume"):
        train(SETTINGS, tmp_path / "run", resume=True)


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
