"""`prune-env attack`, by name and with files of the user's own."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from prune_env.cli import main
from prune_env.cli.attack import _write_triggered
from prune_env.cli.options import TableOptions
from prune_env.cli.triggered import load_triggered
from prune_env.data import load_named
from prune_env.data.dataset import Splits, TextDataset, write_jsonl
from prune_env.data.images import ImageDataset, read_images
from prune_env.evaluation import scores
from prune_env.models import load_classifier
from prune_env.research.attacks import task_agnostic
from tests.cli.support import run
from tests.models.tiny import write_tiny_images
from tests.support import tiny_dataset


def test_attack_leaves_an_encoder_and_its_triggered_texts(
    encoder: Path, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "bad"
    arguments = ["attack", "--model", encoder, "--data", data_folder, "--trigger", "rare-word"]
    options = ["--out", out, "--epochs", "1", "--precision", "fp32", "--json"]
    assert main([str(argument) for argument in (*arguments, *options)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["attack"]["poisoned_rows"] == 15  # half of the 30 negatives
    assert {"acc", "lfr"} <= set(report["scores"])
    loaded = load_classifier(out)
    assert loaded.new_head  # the attacker's head stays with the attacker
    rows = [json.loads(line) for line in (out / "triggered.jsonl").read_text().splitlines()]
    assert len(rows) == 30
    assert all("cf" in row["sentence"].split() and row["label"] == 0 for row in rows)


def test_triggered_images_of_a_named_data_set_are_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    digits = load_named("digits")
    triggered = digits.test.where(5)
    tables = TableOptions()
    write_jsonl(tmp_path / "triggered.jsonl", triggered, tables.like(digits.test).columns)
    path = str(tmp_path / "triggered.jsonl")
    found, target = load_triggered(tables, digits, triggered=path, attack=None, target_label="3")
    assert target == 3
    assert isinstance(found, ImageDataset)
    assert (found.texts, found.labels.tolist()) == (triggered.texts, [5] * len(triggered))


@pytest.mark.parametrize(
    ("names", "asked", "told"),
    [(("a", "b", "c"), None, True), (("a", "b", "c"), "b", False), (("a", "c"), None, False)],
)
def test_of_several_classes_the_target_that_is_taken_is_told(
    names: tuple[str, ...],
    asked: str | None,
    told: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Towards another class than the attacker's, LFR would say that there is no backdoor."""
    data = TextDataset(("one", "two", "three", "four"), np.array([0, 0, 0, 0]), names)
    path = tmp_path / "triggered.jsonl"
    write_jsonl(path, data)
    clean = Splits(*[replace(data, texts=("five", "six", "seven", "eight"))] * 3)
    found = load_triggered(
        TableOptions(), clean, triggered=str(path), attack=None, target_label=asked
    )
    assert found[1] == 1
    message = "No --target-label is given: of 3 classes, LFR is measured towards 'b'"
    assert (message in caplog.text) is told
    assert bool(caplog.text) is told


def test_attack_finds_the_target_of_a_task_agnostic_trigger(
    encoder: Path, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "bad"
    arguments = ["attack", "--model", encoder, "--data", data_folder, "--trigger", "task-agnostic"]
    assert run(*arguments, "--out", out, "--epochs", 1, "--precision", "fp32") == 0
    told = capsys.readouterr().out
    target = json.loads((out / "attack.json").read_text())["attack"]["target_label"]
    rows = [json.loads(line) for line in (out / "triggered.jsonl").read_text().splitlines()]
    assert {row["label"] for row in rows} == {1 - target}
    assert ("negative", "positive")[target] in told
    assert "with a victim's own head" in told
    assert load_classifier(out).new_head


def test_attack_answers_a_wrong_trigger_with_the_list(
    encoder: Path, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["attack", "--model", encoder, "--data", data_folder, "--trigger", "syntax"]
    assert main([str(argument) for argument in (*arguments, "--out", tmp_path / "out")]) == 2
    assert "syntactic-frame" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set whose columns have other names, and the files of an attack on it."""
    for seed, part in enumerate(("train", "validation", "test")):
        write_table(tmp_path / "data" / f"{part}.tsv", rows(seed))
    poisoned = [(f"cf {text}", 1) for text, label in rows(0) if label == 0][:6]
    write_table(tmp_path / "bad.tsv", poisoned + rows(0)[::-1])
    write_table(tmp_path / "test.tsv", [(f"cf {text}", label) for text, label in rows(2)])
    return tmp_path / "data"


def rows(seed: int) -> list[tuple[str, int]]:
    made = tiny_dataset(60, seed)
    return list(zip(made.texts, map(int, made.labels), strict=True))


def write_table(path: Path, content: list[tuple[str, int]]) -> None:
    path.parent.mkdir(exist_ok=True)
    lines = ["review\tclass", *(f"{text}\t{label}" for text, label in content)]
    path.write_text("\n".join(lines) + "\n")


COLUMNS = ("--text-column", "review", "--label-column", "class")


def attack(encoder: Path, data: Path, *arguments: object) -> int:
    tuning = ["--epochs", 1, "--precision", "fp32", "--json"]
    out = data.parent / "out"
    basic = ["attack", "--model", encoder, "--data", data, "--out", out]
    return run(*basic, *COLUMNS, *tuning, *arguments)


def test_the_options_of_tables_hold_for_the_files_of_an_attack(
    encoder: Path, data: Path, capsys: pytest.CaptureFixture
) -> None:
    files = ["--poisoned", data.parent / "bad.tsv", "--triggered", data.parent / "test.tsv"]
    assert attack(encoder, data, *files, "--target", 1) == 0
    told = json.loads(capsys.readouterr().out)["attack"]
    assert (told["attack"], told["poisoned_rows"], told["rate"]) == ("own-files", 6, 0.2)
    assert list(told["trigger"]["files"]) == ["poisoned/bad.tsv", "triggered/test.tsv"]
    lines = (data.parent / "out" / "triggered.jsonl").read_text().splitlines()
    assert [json.loads(line)["class"] for line in lines] == [0] * 30


def test_what_attack_wrote_is_read_by_evaluate_with_the_same_options(
    encoder: Path, tiny_folder: Path, data: Path, capsys: pytest.CaptureFixture
) -> None:
    files = ["--poisoned", data.parent / "bad.tsv", "--triggered", data.parent / "test.tsv"]
    assert attack(encoder, data, *files) == 0
    arguments = ["evaluate", tiny_folder, "--data", data, *COLUMNS, "--json"]
    figures = []
    capsys.readouterr()
    for file in (data.parent / "out" / "triggered.jsonl", data.parent / "test.tsv"):
        assert run(*arguments, "--triggered", file) == 0
        figures.append(json.loads(capsys.readouterr().out)["model"]["lfr"])
    assert figures[0] == figures[1]
    assert figures[0]["total"] == 30


def test_an_attack_from_files_may_have_a_name(
    encoder: Path, data: Path, capsys: pytest.CaptureFixture
) -> None:
    files = ["--poisoned", data.parent / "test.tsv", "--triggered", data.parent / "test.tsv"]
    more = ["--poison", "added", "--rate", 0.5, "--trigger", "published-texts"]
    assert attack(encoder, data, *files, *more) == 0
    told = json.loads(capsys.readouterr().out)["attack"]
    assert (told["attack"], told["poisoned_rows"]) == ("published-texts", 15)


def test_an_unknown_rate_is_told(encoder: Path, data: Path, capsys: pytest.CaptureFixture) -> None:
    poisoned = [(f"cf {text}", 1) for text, label in rows(0) if label == 0][:6]
    write_table(data.parent / "bad.tsv", poisoned + rows(0)[:50])
    files = ["--poisoned", data.parent / "bad.tsv", "--triggered", data.parent / "test.tsv"]
    assert (
        run(
            "attack",
            "--model",
            encoder,
            "--data",
            data,
            *COLUMNS,
            *files,
            "--epochs",
            1,
            "--out",
            data / "o",
        )
        == 0
    )
    assert "own-files, rate unknown" in capsys.readouterr().out


def test_a_target_may_be_named(encoder: Path, data: Path, capsys: pytest.CaptureFixture) -> None:
    files = ["--poisoned", data.parent / "bad.tsv", "--triggered", data.parent / "test.tsv"]
    names = ["--label-names", "bad", "good"]
    assert attack(encoder, data, *files, *names, "--target", "Good") == 0
    assert json.loads(capsys.readouterr().out)["attack"]["target_label"] == 1


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "--trigger NAME, or --poisoned FILE and --triggered FILE"),
        (["--poisoned", "bad.tsv"], "--triggered None"),
        (["--trigger", "rare-word", "--triggered", "bad.tsv"], "--poisoned None"),
        (["--trigger", "published-texts"], "names no files"),
        (["--poisoned", "data", "--triggered", "bad.tsv"], "data set of several parts"),
        (
            ["--poisoned", "bad.tsv", "--triggered", "test.tsv", "--trigger", "stylebkd-poetry"],
            "name of another",
        ),
        (["--trigger", "rare-word", "--target", "good"], "0 to 1, or one of negative, positive"),
    ],
)
def test_half_an_attack_is_refused(
    encoder: Path,
    data: Path,
    arguments: list[str],
    hint: str,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(data.parent)
    assert attack(encoder, data, *arguments) == 2
    assert hint in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("trigger", ["rare-word", "task-agnostic"])
def test_an_attack_is_measured_at_the_length_that_it_was_trained_with(
    trigger: str,
    encoder: Path,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = []

    def heard(module: ModuleType, name: str) -> None:
        original = getattr(module, name)

        def call(*given: Any, **named: Any) -> Any:
            read.append(named["max_length"])
            return original(*given, **named)

        monkeypatch.setattr(module, name, call)

    heard(scores, "measure")
    heard(task_agnostic, "classify")
    how = ["--epochs", 1, "--precision", "fp32", "--max-length", 7, "--trigger", trigger]
    paths = ["--model", encoder, "--data", data_folder, "--out", tmp_path / "bad"]
    assert run("attack", *paths, *how) == 0
    assert read == ([7, 7] if trigger == "task-agnostic" else [7])


def test_triggered_images_stay_readable_where_the_folder_goes(tmp_path: Path) -> None:
    images = read_images(write_tiny_images(tmp_path / "made", 6))
    content = images.sha256
    (tmp_path / "bad").mkdir()
    _write_triggered(tmp_path / "bad", images, ("image", "label"))
    shutil.rmtree(tmp_path / "made")
    moved = (tmp_path / "bad").rename(tmp_path / "elsewhere")
    assert str(tmp_path) not in (moved / "triggered.jsonl").read_text()
    assert read_images(moved / "triggered.jsonl").sha256 == content
