import errno
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from prune_env.cli.watch.origin import Origin, find_origin
from prune_env.data.dataset import write_jsonl
from prune_env.models import load_mask
from prune_env.research.attacks.tiny import cached_tiny_model
from prune_env.utils.files import sha256_of
from tests.cli.support import run
from tests.support import tiny_dataset, write_tiny_folder

LANDSCAPE = [
    *("--env", "prune_env/Landscape-v0", "--model", "landscape:layers=2,heads=4"),
    *("--tau", "0.8", "--algo", "epsilon-greedy"),
]


@pytest.fixture(scope="module")
def trained(tiny_folder: Path, clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the tiny classifier, with a part of its sentences."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    model = ["--env", "prune_env/HeadPruning-v0", "--model", tiny_folder, "--data", clean]
    small = ["--num-envs", 2, "--set", "n_steps=16", "batch_size=16", "width=8"]
    some = ["--steps", 200, "--validation-subset", 30, "--max-drop", 0.1]
    assert run("train", "--out", out, *model, *some, *small) == 0
    return out


def test_a_run_says_what_it_was_and_what_came_of_it(
    trained: Path, capsys: pytest.CaptureFixture
) -> None:
    settings = json.loads((trained / "settings.json").read_text())
    assert settings["algorithm"] == "maskable_ppo"
    assert settings["validation_subset"] == 30
    assert settings["env_arguments"]["tau"] is None
    report = json.loads((trained / "report.json").read_text())
    assert report["hyperparameters"]["n_steps"] == 16
    assert report["learned_on"] == "a stratified subset of 30 validation sentences"
    assert report["best"] == json.loads((trained / "best.json").read_text())
    assert report["best_met"]["model"] == report["best"]["models"][0]["model"]
    assert list(trained.glob("events.out.tfevents.*"))


@pytest.mark.parametrize("part", ["best", "agent"])
def test_what_was_learned_purifies_a_model_it_never_saw(
    part: str, trained: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Another architecture, with other numbers of layers and heads."""
    other, out = write_tiny_folder(tmp_path / "other", layers=3, heads=2, seed=7), tmp_path / "out"
    policy = ["--policy", trained / part, "--max-drop", "0.1", "--importance-sentences", "16"]
    assert run("purify", other, "--data", clean, "--out", out, *policy, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    mask = load_mask(out / "mask.json")
    assert mask.shape == (3, 2)
    assert report["run"]["policy"] == part  # the name alone: a report may be published
    [weights] = sorted((trained / part).glob("*.safetensors"))[-1:]
    assert report["run"]["agent"]["algorithm"] == "maskable_ppo"
    assert report["run"]["agent"]["sha256"] == sha256_of(weights)
    assert report["result"]["heads_pruned"] == np.sum(~mask)
    # One episode and no learning: a mask a step at most, and the unpruned model.
    assert report["result"]["evaluations"] <= mask.size + 2
    assert report["result"]["validation_accuracy_under_mask"] >= report["result"]["tau"]


def test_terminated_it_saves_and_resumed_it_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    program = "import sys; from prune_env.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "train", *LANDSCAPE, "--json"]
    options = ["--steps", "600", "--save-every", "50"]
    out = tmp_path / "run"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        [*command, *options, "--out", out], stdout=subprocess.PIPE, env=environment
    )
    deadline = time.monotonic() + 60
    while len(list((out / "agent").glob("*.json"))) < 2:
        assert started.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started.send_signal(signal.SIGTERM)
    stdout, _ = started.communicate(timeout=60)
    assert started.returncode == 128 + signal.SIGTERM
    stopped = json.loads(stdout)
    assert stopped["interrupted_by_signal"] == signal.SIGTERM
    assert 0 < stopped["steps"] < 600

    assert run("train", *LANDSCAPE, *options, "--out", out, "--resume") == 0
    assert run("train", *LANDSCAPE, *options, "--out", tmp_path / "whole") == 0
    resumed, whole = (
        json.loads((folder / "report.json").read_text()) for folder in (out, tmp_path / "whole")
    )
    for name in ("steps", "episodes", "evaluations", "best"):
        assert resumed[name] == whole[name]
    last = sorted((tmp_path / "whole" / "agent").iterdir())[-1]
    assert (out / "agent" / last.name).read_bytes() == last.read_bytes()


def test_a_full_disk_is_told_with_its_folder_and_what_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    options = ["--steps", "60", "--save-every", "20", "--out", tmp_path / "run"]
    command = ["train", *LANDSCAPE, *options]
    with monkeypatch.context() as patch:

        def full(descriptor: int) -> None:
            if any((tmp_path / "run" / "agent").glob("*.json")):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(os, "fsync", full)
        assert run(*command) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"{tmp_path / 'run'} cannot be read or written: No space left on device." in told
    assert "the same command with --resume goes on" in told
    assert run(*command, "--resume") == 0


BAD = {
    "an unknown algorithm": (["--algo", "maskable_pppo"], "did you mean 'maskable_ppo'"),
    "an algorithm in capitals": (["--algo", "PPO"], "did you mean 'ppo'? "),  # and no full stop
    "another algorithm": (["--algo", "sac"], "one of a2c, dqn, epsilon-greedy, maskable_ppo, ppo."),
    "a tau that nothing reaches": (["--tau", "0.99"], "below tau"),
    "an algorithm that learns nothing": (["--algo", "gradient"], "does not learn"),
    "an unknown environment": (["--env", "Tiny-v0"], "prune_env/Tiny-v0"),
    "an unknown reward": (["--reward", "sparsty"], "did you mean 'sparsity'"),
    "a reward that no defender has": (["--reward", "oracle"], "reads triggered texts"),
    "its option": (["--reward", "oracle"], "(--reward; `prune-env list --kind rewards`"),
    "an unknown hyperparameter": (["--set", "epsilon=1"], "epsilon_start"),
    "no hyperparameter at all": (["--set", "epsilon"], "NAME=VALUE"),
    "a hyperparameter twice": (["--set", "gamma=0.9", "gamma=1"], "'gamma' is given twice"),
    "values to try twice": (["--sweep", "gamma=0.9", "gamma=1"], "with commas between them"),
    "a part of no sentences": (["--validation-subset", "10"], "holds no texts"),
    "tau twice": (["--max-drop", "0.1"], "Give tau or max_drop"),
    "nothing to resume": (["--resume"], "no run to resume"),
    "steps below one": (["--steps", "0"], "total_steps"),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_answered_before_anything_is_written(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    changes, message = BAD[name]
    assert run("train", *LANDSCAPE, "--out", tmp_path / "run", *changes) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "run").exists()


def test_other_peoples_folders_and_archives_are_refused(
    clean: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").write_text("mine")
    assert run("train", *LANDSCAPE, "--out", full) == 2
    assert "new or empty folder" in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in full.iterdir()] == ["letter.txt"]

    (full / "settings.json").write_text("{}")
    for more in ((), ("--seeds", "0", "1")):
        assert run("train", *LANDSCAPE, "--out", full, *more) == 2
        assert "go on with the run in it (--resume)" in " ".join(capsys.readouterr().err.split())

    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w") as held:
        held.writestr("data", "a pickle inside")
    for policy, message in ((archive, "never opened"), (full, "No usable agent")):
        arguments = ["--data", clean, "--out", tmp_path / "out", "--policy", policy]
        assert run("purify", tiny_folder, *arguments) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_what_was_learned_on_units_is_used_as_the_last_line_says(
    tiny_folder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "run"
    game = ["--env", "prune_env/HybridPruning-v0", "--model", tiny_folder, "--data", clean]
    learn = ["--algo", "epsilon-greedy", "--steps", 100, "--max-drop", 0.3, "--out", out]
    assert run("train", *game, *learn) == 0
    printed = capsys.readouterr().out
    told = " ".join(printed.split())
    assert str(out / "best") in "".join(printed.split())  # broken in two where it is long
    best = json.loads((out / "best.json").read_text())["models"][0]["units_pruned"]
    assert f"{best['neurons']} groups of neurons and {best['map']} steps of strength" in told
    *_, command = told.partition("use it prune-env purify MODEL --data DATA ")
    words = command.partition(" watch it")[0].split()
    assert (words[0], words[-2:]) == ("--policy", ["--units", "hybrid"])
    words[1:-2] = ["".join(words[1:-2])]
    purify = ["--out", tmp_path / "out", "--max-drop", 0.3, "--guard", "accuracy"]
    assert run("purify", tiny_folder, "--data", clean, *words, *purify) == 0


@pytest.mark.parametrize("several", [False, True])
def test_a_mask_of_units_met_on_a_single_table_is_used_as_the_last_line_says(
    several: bool,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    model, data = (cached_tiny_model() / name for name in ("classifier", "validation.jsonl"))
    monkeypatch.setattr("prune_env.agents.training.recommend", lambda *_: "best_met")
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.chdir(tmp_path)
    game = ["--env", "prune_env/HybridPruning-v0", "--model", model, "--data", data]
    learn = ["--algo", "epsilon-greedy", "--steps", 40, "--out", "run"]
    assert run("train", *game, *learn, *(["--seeds", 0] if several else [])) == 0
    told = " ".join(capsys.readouterr().out.split())
    words = told.partition("prune-env purify MODEL ")[2].partition(" watch it")[0].split()
    place = "run/seed-0" if several else "run"
    mask = ["--mask", f"{place}/best_met.json", "--units", "hybrid"]
    assert words == ["--data", "DATA", "--validation", "DATA", *mask]
    words = [data if word == "DATA" else word for word in words]
    assert run("purify", model, *words, "--out", "purified") == 0


@pytest.mark.parametrize("several", [False, True])
def test_a_table_of_other_columns_is_learned_on_from_any_folder(
    several: bool, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a run of several trainings, whose workers may stand elsewhere, and on resuming."""
    write_jsonl(tmp_path / "mails.jsonl", tiny_dataset(30), ("mail", "kind"))
    monkeypatch.chdir(tmp_path)
    what = ["--env", "prune_env/HeadPruning-v0", "--model", tiny_folder, "--data", "mails.jsonl"]
    read = ["--text-column", "mail", "--label-column", "kind"]
    how = ["--algo", "epsilon-greedy", "--steps", "20", "--max-drop", "0.5"]
    trained = ["train", "--out", "out", *what, *how]
    assert run(*trained) == 2
    assert not (tmp_path / "out").exists()
    assert run(*trained, *read, *(["--seeds", "0", "1"] if several else [])) == 0
    place = tmp_path / "out" / ("seed-1" if several else ".")
    data = json.loads((place / "settings.json").read_text())["env_arguments"]["data"]
    path = str(tmp_path / "mails.jsonl") if several else "mails.jsonl"
    assert data == {"name": path, "text_column": "mail", "label_column": "kind"}
    again = ["--resume", "--seeds", "0", "1"] if several else ["--resume"]
    assert run(*trained, *read, *again) == 0
    found = find_origin(place, Origin())
    assert found is not None
    monkeypatch.chdir("/")
    suspect, _ = found.load(place)
    assert suspect.validation.texts == tiny_dataset(30).texts


def test_how_a_table_is_read_is_refused_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run("train", "--out", tmp_path / "out", *LANDSCAPE, "--text-column", "mail") == 2
    assert "--data beside options of tables" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_what_was_paid_by_the_trigger_is_no_defence(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    what = ["--env", "prune_env/Recorded-v0", "--algo", "epsilon-greedy", "--steps", "20"]
    for reward in ("oracle", "inverted-trigger"):
        assert run("train", "--out", tmp_path / reward, *what, "--reward", reward) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert ("its reward reads the trigger, so no defence" in told) == (reward == "oracle")
        assert ("prune-env purify MODEL" in told) == (reward != "oracle")
        report = json.loads((tmp_path / reward / "report.json").read_text())
        assert ("oracle" in report) == (reward == "oracle")
    # Nor is what such an agent prunes of a model whose trigger it never read.
    other = write_tiny_folder(tmp_path / "other", layers=3, heads=2, seed=7)
    quick = ["--data", clean, "--importance-sentences", "16", "--max-drop", "0.1"]
    for reward, part in (("oracle", "best"), ("oracle", "agent"), ("inverted-trigger", "best")):
        out = tmp_path / f"{reward}-{part}"
        policy = ["--policy", tmp_path / reward / part, "--out", out]
        assert run("purify", other, *quick, *policy) == 0
        printed = capsys.readouterr()
        told, warned = (" ".join(text.split()) for text in (printed.out, printed.err))
        assert ("reads the trigger, so no defence" in told) == (reward == "oracle")
        assert ("learned from a reward that reads the trigger" in warned) == (reward == "oracle")
        agent = json.loads((out / "report.json").read_text())["run"]["agent"]
        assert agent.get("oracle", False) == (reward == "oracle")
        assert ("reads the trigger" in (out / "README.md").read_text()) == (reward == "oracle")
    # Nor is the mask of such a training, nor that mask once it is another model's.
    other = write_tiny_folder(tmp_path / "wide", layers=6, heads=12, hidden=24)
    for reward in ("oracle", "inverted-trigger"):
        mask = tmp_path / reward / "best_met.json"
        for turn in ("first", "again"):
            out = tmp_path / f"{reward}-{turn}"
            arguments = ["--data", clean, "--guard", "accuracy", "--mask", mask]
            assert run("purify", other, *arguments, "--out", out) == 0
            printed = capsys.readouterr()
            told, warned = (" ".join(text.split()) for text in (printed.out, printed.err))
            assert ("reads the trigger, so no defence" in told) == (reward == "oracle")
            assert ("learned from a reward that reads the trigger" in warned) == (
                reward == "oracle"
            )
            agent = json.loads((out / "report.json").read_text())["run"]["agent"]
            assert agent == ({"oracle": True} if reward == "oracle" else None)
            assert ("reads the trigger" in (out / "README.md").read_text()) == (reward == "oracle")
            mask = out / "mask.json"
