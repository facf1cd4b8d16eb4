"""The folder of a training: what it is resumed from, and what it refuses."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prune_env.agents import training
from prune_env.agents.shipped import SHIPPED
from prune_env.agents.train_settings import TrainSettings
from prune_env.agents.training import train
from prune_env.cli import main
from prune_env.errors import SettingsError, StateError
from prune_env.utils.leases import locked
from tests.agents.support import SETTINGS


def test_nothing_is_resumed_from_nothing(tmp_path: Path):
    with pytest.raises(StateError, match="no run to resume"):
        train(SETTINGS, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("settings.json", text) for text in ("[]", "null", "3", '"x"', "[" * 50_000, "{")),
        *(
            ("best.json", text)
            for text in (
                "{}",
                "[]",
                "null",
                '{"total_reward": "x", "steps": 1, "models": []}',
                '{"total_reward": 1, "steps": 1, "models": [{}]}',
                '{"total_reward": 1, "steps": 1, "models": 3}',
            )
        ),
    ],
)
def test_a_file_of_a_run_with_another_shape_is_one_message(
    name: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "run"
    line = ["train", "--env", "prune_env/Landscape-v0", "--algo", "epsilon-greedy"]
    line += ["--steps", "20", "--out", str(folder)]
    folder.mkdir()
    if name == "best.json":
        assert main(line) == 0
    (folder / name).write_text(content)
    capsys.readouterr()
    assert main([*line, "--resume"]) == 2
    said = capsys.readouterr().err
    assert name in said
    assert "Remedy" in said


def test_what_is_interrupted_before_it_learns_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "new", tmp_path / "empty"):
        with monkeypatch.context() as patch:
            patch.setattr(training, "learning_env", interrupted)
            with pytest.raises(KeyboardInterrupt):
                train(SETTINGS, folder)
        assert not folder.exists() or not any(folder.iterdir())
        train(SETTINGS, folder)


def test_changed_settings_are_refused_with_the_difference(tmp_path: Path):
    train(SETTINGS, tmp_path / "run")
    with pytest.raises(StateError, match=r"Expected: seed=0\. Actual: seed=1"):
        train(replace(SETTINGS, seed=1), tmp_path / "run", resume=True)


def test_settings_are_equal_if_their_files_are(tmp_path: Path):
    arguments = {**SETTINGS.env_arguments, "metrics": ("magnitude", "gate_gradient")}
    settings = replace(SETTINGS, env_arguments=arguments)
    steps = train(settings, tmp_path / "run").agent.record.steps
    assert train(settings, tmp_path / "run", resume=True).agent.record.steps == steps


@pytest.mark.parametrize("tau", [np.float32(0.8), float("nan")])
def test_settings_that_no_file_holds_are_refused(tau: float, tmp_path: Path):
    settings = replace(SETTINGS, env_arguments={**SETTINGS.env_arguments, "tau": tau})
    with pytest.raises(SettingsError, match="plain values"):
        train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_its_own_algorithm_only(tmp_path: Path):
    train(SETTINGS, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "agent")
    shutil.copytree(SHIPPED["heads"] / "ppo", tmp_path / "run" / "agent")
    with pytest.raises(StateError, match=r"Expected: epsilon-greedy\. Actual: ppo"):
        train(SETTINGS, tmp_path / "run", resume=True)


def test_two_processes_do_not_share_a_folder(tmp_path: Path):
    with locked(tmp_path / "run"), pytest.raises(StateError, match="Another process"):
        train(SETTINGS, tmp_path / "run")


@pytest.mark.parametrize(
    "wrong",
    [{"seed": "1"}, {"seed": -1}, {"seed": 2**32}, {"total_steps": 10.5}, {"patience": True}],
)
def test_numbers_of_another_kind_are_refused(wrong):
    with pytest.raises(SettingsError, match=f"{next(iter(wrong))} is out of range"):
        TrainSettings(algorithm="epsilon-greedy", **wrong)


def test_numbers_of_numpy_become_plain():
    settings = TrainSettings(algorithm="dqn", total_steps=np.int64(20), seed=np.int32(3))
    assert (type(settings.total_steps), type(settings.seed)) == (int, int)
