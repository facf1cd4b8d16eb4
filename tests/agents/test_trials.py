import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from prune_env.agents import side_by_side
from prune_env.agents.side_by_side import train_trials
from prune_env.agents.train_settings import TrainSettings
from prune_env.agents.trials import make_trials
from prune_env.cli import main
from prune_env.errors import SettingsError, StateError

BASE = TrainSettings(
    algorithm="epsilon-greedy",
    env="prune_env/Landscape-v0",
    env_arguments={"model": "landscape:layers=2,heads=4,seed=1"},
    total_steps=60,
    test_every=5,
)


def test_a_trial_for_each_seed_and_each_combination() -> None:
    sweep = {"learning_rate": (0.1, {"start": 0.1, "end": 0.01}), "gamma": (1.0,)}
    trials = make_trials(BASE, (3, 4), sweep)
    assert len({trial.name for trial in trials}) == 4
    assert all(Path(trial.name).name == trial.name for trial in trials)
    assert trials[0].settings.seed == 3
    assert trials[3].settings.hyperparameters == {
        "learning_rate": {"start": 0.1, "end": 0.01},
        "gamma": 1.0,
    }
    for seeds, again in (((), {}), ((1, 1), {}), ((1,), {"gamma": ()})):
        with pytest.raises(SettingsError, match="not told apart"):
            make_trials(BASE, seeds, again)


def test_files_of_trials_are_named_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.tsv").touch()
    base = TrainSettings(env_arguments={"data": "data.tsv", "model": "minilm", "tau": 0.8})
    arguments = make_trials(base, (0,), {})[0].settings.env_arguments
    assert arguments == {"data": str(tmp_path / "data.tsv"), "model": "minilm", "tau": 0.8}


def test_a_signal_before_an_agent_learns_stops_the_trials_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Path] = []

    def loads(_: TrainSettings, place: Path, **__: object) -> SimpleNamespace:
        begun.append(place)
        os.kill(os.getpid(), signal.SIGINT)  # while models load, before `train` looks for one
        return SimpleNamespace(signal=None)

    monkeypatch.setattr(side_by_side, "train", loads)
    results = train_trials(make_trials(BASE, (0, 1, 2), {}), tmp_path / "run")
    assert len(begun) == 1
    assert [each.status for each in results] == ["paused"] * 3


def test_trials_are_resumed_and_what_has_ended_is_left_alone(tmp_path: Path) -> None:
    out, heard = tmp_path / "run", []
    (first,) = train_trials(make_trials(BASE, (0,), {}), out)
    assert first.status == "done"
    two = make_trials(BASE, (0, 1), {})
    results = train_trials(two, out, resume=True, on_result=lambda each: heard.append(each.name))
    assert heard == ["seed-1"]
    assert results[0] == first
    told = json.loads((out / "trials.json").read_text())
    assert [each["name"] for each in told] == ["seed-0", "seed-1"]
    other = TrainSettings(**{**vars(BASE), "total_steps": 70})
    with pytest.raises(StateError, match="other settings"):
        train_trials(make_trials(other, (0,), {}), out, resume=True)


def test_a_trial_that_fails_is_told_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = ["train", "--out", str(tmp_path / "run"), "--algo", "epsilon-greedy", "--json"]
    command += ["--env", BASE.env, "--model", "landscape:layers=2,heads=4,seed=1"]
    command += ["--steps", "40", "--sweep", "hidden=16,-1"]
    assert main(command) == 1
    good, bad = json.loads(capsys.readouterr().out)
    assert (good["status"], bad["status"]) == ("done", "failed")
    assert "SettingsError" in bad["error"]
