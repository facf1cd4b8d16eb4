import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prune_env.agents import side_by_side, training
from prune_env.agents.side_by_side import train_trials
from prune_env.agents.train_settings import TrainSettings
from prune_env.agents.training import TrainedAgent, train
from prune_env.agents.trials import make_trials, result_of
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
    trials = make_trials(replace(BASE, algorithm="ppo"), (3, 4), sweep)
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


def test_trials_with_long_names_are_told_apart() -> None:
    long = {
        "exploration_fraction": [0.3],
        "exploration_final_eps": [0.05],
        "target_update_interval": [1000],
        "buffer_size": [50_000],
    }
    base, sweep = replace(BASE, algorithm="dqn"), {"gamma": [0.9, 1.0], **long}
    names = [each.name for each in make_trials(base, (0, 1), sweep)]
    assert len(set(names)) == 4
    assert all(len(name) == 100 for name in names)
    assert [name.startswith("gamma=0.9-") for name in names] == [True, True, False, False]


def test_files_of_trials_are_named_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.tsv").touch()
    base = TrainSettings(env_arguments={"data": "data.tsv", "model": "minilm", "tau": 0.8})
    arguments = make_trials(base, (0,), {})[0].settings.env_arguments
    assert arguments == {"data": str(tmp_path / "data.tsv"), "model": "minilm", "tau": 0.8}


@pytest.mark.parametrize("name", ["tiny", "sst2"])
def test_a_name_wins_over_a_folder_of_the_same_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (name, "sparsity"):
        Path(folder).mkdir()
    asked = {"data" if name == "sst2" else "model": name, "reward": "sparsity"}
    trial = make_trials(TrainSettings(env_arguments=asked), (0,), {})[0]
    assert trial.settings.env_arguments == asked


def test_a_hyperparameter_has_one_value_or_several() -> None:
    base = replace(BASE, hyperparameters={"epsilon_start": 0.2})
    with pytest.raises(SettingsError, match=r"set and swept.*epsilon_start"):
        make_trials(base, (0,), {"epsilon_start": (0.1, 0.9)})


def test_after_a_signal_while_models_load_nothing_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[object] = []
    make = training.learning_env

    def loads(*given: Any) -> Any:
        begun.append(given)
        os.kill(os.getpid(), signal.SIGINT)
        return make(*given)

    monkeypatch.setattr(training, "learning_env", loads)
    three = make_trials(BASE, (0, 1, 2), {})
    results = train_trials(three, tmp_path / "run")
    assert len(begun) == 1
    assert [(each.status, each.signal) for each in results] == [("paused", signal.SIGINT)] * 3
    assert json.loads((tmp_path / "run/seed-0/report.json").read_text())["steps"] == 0
    monkeypatch.setattr(training, "learning_env", make)
    again = train_trials(three, tmp_path / "run", resume=True)
    assert [each.status for each in again] == ["done"] * 3


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    trials = make_trials(BASE, (0,), {})
    with pytest.raises(StateError, match=r"no run to resume.*check the path"):
        train_trials(trials, tmp_path / "slip", resume=True)
    assert not (tmp_path / "slip").exists()
    train_trials(trials, tmp_path / "run")
    with pytest.raises(StateError, match=r"several trainings, not one.*--seeds"):
        train(BASE, tmp_path / "run", resume=True)


def test_a_trial_that_diverges_fails_alone(tmp_path: Path) -> None:
    settings = {"n_steps": 16, "num_envs": 2, "batch_size": 16}
    base = replace(BASE, algorithm="maskable_ppo", total_steps=64, hyperparameters=settings)
    trials = make_trials(base, (0,), {"learning_rate": (1e30, 1e-3)})
    bad, good = train_trials(trials, tmp_path / "run")
    assert (bad.status, good.status) == ("failed", "done")
    assert "DivergedError: Learning diverged" in bad.error
    assert "lower the learning rate" in bad.error


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
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_once(settings: TrainSettings, place: Path, **more: Any) -> TrainedAgent:
        if settings.hyperparameters["hidden"] == 8:
            raise SettingsError("no luck")
        return train(settings, place, **more)

    monkeypatch.setattr(side_by_side, "train", fails_once)
    command = ["train", "--out", str(tmp_path / "run"), "--algo", "epsilon-greedy", "--json"]
    command += ["--env", BASE.env, "--model", "landscape:layers=2,heads=4,seed=1"]
    command += ["--steps", "40", "--sweep", "hidden=16,8"]
    assert main(command) == 1
    good, bad = json.loads(capsys.readouterr().out)
    assert (good["status"], bad["status"]) == ("done", "failed")
    assert "SettingsError: no luck" in bad["error"]


def test_what_other_seeds_reached_stays_told(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train_trials(make_trials(BASE, (0,), {}), out)
    train_trials(make_trials(BASE, (1,), {}), out, resume=True)
    told = json.loads((out / "trials.json").read_text())
    assert [each["name"] for each in told] == ["seed-0", "seed-1"]


def report(folder: Path, changes: dict) -> None:
    """Write what a training might have reported."""
    plain = {"interrupted_by_signal": None, "seconds_of_this_call": 1.0}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(plain | changes))


def mask(reward: float, heads: int, accuracy: float) -> dict:
    return {"total_reward": reward, "heads_pruned": heads, "accuracy": accuracy, "keeps_tau": True}


def test_a_trial_reached_what_it_recommends_and_what_is_paid_ranks(tmp_path: Path) -> None:
    met, several = make_trials(BASE, (0, 1), {})
    played = {"models": [mask(1.0, 9, 0.8)]}
    report(tmp_path, {"recommended": "best_met", "best": played, "best_met": mask(2.0, 3, 0.9)})
    one = result_of(met, tmp_path)
    assert one is not None
    assert (one.recommended, one.reward, one.heads_pruned) == ("best_met", 2.0, 3)
    played = {"models": [mask(1.0, 9, 0.8), mask(2.0, 12, 0.9)]}
    report(tmp_path, {"recommended": "best", "best": played, "best_met": None})
    other = result_of(several, tmp_path)
    assert other is not None
    assert (other.recommended, other.reward, other.heads_pruned) == ("best", 1.5, 10.5)
    report(tmp_path, {"recommended": None, "best": None, "best_met": None})
    nothing = result_of(several, tmp_path)
    assert nothing is not None
    assert max((nothing, other, one), key=lambda each: each.rank) is one
    assert min((one, nothing, other), key=lambda each: each.rank) is nothing


def test_damaged_files_of_trials_are_told(tmp_path: Path) -> None:
    (trial,) = make_trials(BASE, (0,), {})
    report(tmp_path / "run" / trial.name, {})
    with pytest.raises(StateError, match="the report of a training"):
        train_trials((trial,), tmp_path / "run", resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "trials.json").write_text("[1]")
    with pytest.raises(StateError, match="what trials reached"):
        train_trials((trial,), tmp_path / "other", resume=True)


def test_one_training_is_not_resumed_as_several(tmp_path: Path) -> None:
    (trial,) = make_trials(BASE, (0,), {})
    train(trial.settings, tmp_path / "run")
    with pytest.raises(StateError, match="one training"):
        train_trials((trial,), tmp_path / "run", resume=True)


def test_a_hyperparameter_that_no_algorithm_has_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for algorithm in ("epsilon-greedy", "ppo"):
        command = ["train", "--out", str(tmp_path / "run"), "--algo", algorithm]
        command += ["--env", "prune_env/Landscape-v0", "--seeds", "0", "1"]
        assert main([*command, "--sweep", "lerning_rate=0.1,0.2"]) == 2
        assert "no hyperparameter lerning_rate" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_page_of_several_trainings_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = ["train", "--out", str(tmp_path / "run"), "--env", "prune_env/Landscape-v0"]
    command += ["--algo", "epsilon-greedy", "--steps", "20", "--seeds", "0", "1"]
    assert main([*command, "--watch"]) == 2
    assert "run/NAME" in capsys.readouterr().err.replace("\n", "")
    assert main(command) == 0
    origin = json.loads((tmp_path / "run" / "seed-1" / "watch.json").read_text())
    assert origin["env"] == "prune_env/Landscape-v0"
    assert main(["watch", str(tmp_path / "run"), "--port", "0"]) == 2
    told = capsys.readouterr().err.replace("\n", "")
    assert "holds several runs" in told
    assert "run/NAME" in told


def test_the_status_of_several_tells_the_signal_and_the_end_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def ended(_: TrainSettings, place: Path, **__: object) -> SimpleNamespace:
        os.kill(os.getpid(), signal.SIGTERM)
        return SimpleNamespace(signal=None)

    monkeypatch.setattr(side_by_side, "train", ended)
    command = ["train", "--out", str(tmp_path / "run"), "--env", "prune_env/Landscape-v0"]
    assert main([*command, "--seeds", "0", "1"]) == 128 + signal.SIGTERM
    assert "the same command with --resume" in capsys.readouterr().out
