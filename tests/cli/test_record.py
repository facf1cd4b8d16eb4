"""`prune-env record` on a tiny model: file, surrogate and Minari data set from one command."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prune_env.data.dataset import write_jsonl
from prune_env.env.rewards.reward import REWARDS, Sparsity
from prune_env.evaluation import ReferenceEvaluator
from prune_env.models import load_classifier
from prune_env.research.recording.table import MaskTable, write_record
from prune_env.utils.leases import locked
from tests.cli.support import run
from tests.models.tiny import write_tiny, write_tiny_images
from tests.support import tiny_dataset, write_tiny_folder


@pytest.fixture
def arguments(tmp_path: Path) -> list[object]:
    write_tiny_folder(tmp_path / "model")
    write_jsonl(tmp_path / "clean.jsonl", tiny_dataset(32))
    places = ["--out", tmp_path / "r.npz", "--surrogate", tmp_path / "s.npz"]
    inputs = ["--model", tmp_path / "model", "--data", tmp_path / "clean.jsonl"]
    return ["record", *inputs, *places, "--rewards", "sparsity", "--masks", "45", "--json"]


def test_one_command_records_fits_and_writes_a_data_set(
    arguments: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    assert run(*arguments, "--minari", "tiny-v0", "--episodes", "5") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["masks"], told["minari_episodes"]) == (45, 5)
    assert minari.load_dataset("tiny-v0").total_episodes == 5
    (tmp_path / "r.npz").unlink()
    assert run(*arguments, "--minari", "tiny-v0") == 2
    assert "There is a Minari data set tiny-v0" in capsys.readouterr().err
    assert not (tmp_path / "r.npz").exists()  # refused before the work


def test_rewards_are_made_once(arguments: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    """One may load a model, or plant triggers in a copy."""
    made = []

    class Slow(Sparsity):
        name = "slow"

        def __init__(self) -> None:
            made.append(self)

    monkeypatch.setattr(REWARDS, "_entries", dict(REWARDS._entries))
    REWARDS.register("slow", Slow, help="a test")
    assert run(*_changed(arguments, "--rewards", "slow")) == 0
    assert len(made) == 1


def test_a_data_set_needs_a_surrogate(
    arguments: list[object], capsys: pytest.CaptureFixture
) -> None:
    where = arguments.index("--surrogate")
    assert run(*arguments[:where], *arguments[where + 2 :], "--minari", "tiny-v0") == 2
    assert "--surrogate FILE beside --minari" in capsys.readouterr().err


def _changed(arguments: list[object], option: str, value: object) -> list[object]:
    where = arguments.index(option)
    return [*arguments[: where + 1], value, *arguments[where + 2 :]]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--surrogate", "r.npz", "would replace the record"),
        ("--surrogate", "link/../r.npz", "would replace the record"),
        ("--surrogate", "other.npz", "is no surrogate"),
        ("--surrogate", "s.json", "surrogate must be an .npz file"),
        ("--surrogate", "other.npz/s.npz", "cannot be written"),
        ("--out", "other.npz/r.npz", "cannot be written"),
        ("--out", "r", "out must be an .npz file"),
        ("--masks", "0", "masks is out of range"),
        ("--masks", "39", "A surrogate needs more masks"),
        ("--rewards", "sparsty", "did you mean 'sparsity'"),
        ("--rewards", ",", "names each of its rewards once"),
        ("--rewards", "oracle", "reads triggered texts"),
        ("--rewards", "oracle", "leave oracle out, and give --triggered FILE or --attack NAME"),
        (
            "--rewards",
            "0.5 * oracle + sparsity",
            "leave oracle out, and give --triggered FILE or --attack NAME",
        ),
        ("--episodes", "0", "episodes is out of range"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_the_work(
    arguments: list[object],
    option: str,
    value: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr("prune_env.cli.record.Record._parts", lambda *_: pytest.fail("work"))
    (tmp_path / "link").mkdir()
    table = MaskTable(
        {},
        np.ones((1, 2), bool),
        np.zeros((1, 2, 0)),
        np.ones((1, 1, 2), bool),
        np.zeros(1, np.uint8),
        np.zeros(1, np.uint32),
        {"accuracy": np.ones(1, np.float32)},
        np.ones((1, 3), np.float16),
    )
    for name in ("r.npz", "other.npz"):
        if name == "other.npz" or value.endswith("r.npz"):
            write_record(tmp_path / name, table)
    held = {path.name: path.read_bytes() for path in tmp_path.glob("*.npz")}
    path = option in ("--surrogate", "--out")
    if option == "--episodes":
        arguments = [*arguments, "--episodes", "1000"]
    assert run(*_changed(arguments, option, tmp_path / value if path else value)) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.npz")} == held


@pytest.mark.parametrize(("option", "value"), [("--rewards", "accuracy"), ("--seed", "1")])
def test_a_file_of_other_arguments_is_refused_before_the_work(
    option: str,
    value: str,
    arguments: list[object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    begun = _changed([*arguments, "--seed", "0"], "--masks", 40)
    assert run(*begun) == 0
    capsys.readouterr()
    monkeypatch.setattr("prune_env.cli.record.Record._parts", lambda *_: pytest.fail("work"))
    assert run(*_changed(begun, option, value)) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "belongs to another recording" in said
    name = option.removeprefix("--")
    assert re.search(rf"Expected: {name}: .*{value}.* Actual: {name}: ", said)


def test_a_record_goes_on_from_another_folder_and_under_other_paths(
    arguments: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """What is in the files tells whether they are the same, not how they are called."""
    whole = [*arguments[: arguments.index("--surrogate")], "--rewards", "sparsity"]
    assert run(*whole, "--masks", "40") == 0
    (tmp_path / "model").rename(tmp_path / "moved")
    (tmp_path / "clean.jsonl").rename(tmp_path / "texts.jsonl")
    monkeypatch.chdir(tmp_path)
    elsewhere = _changed(_changed(whole, "--model", "moved"), "--data", "texts.jsonl")
    capsys.readouterr()
    assert run(*elsewhere, "--masks", "45", "--json") == 0
    assert json.loads(capsys.readouterr().out)["masks"] == 45
    write_jsonl(tmp_path / "texts.jsonl", tiny_dataset(32, seed=1))
    assert run(*elsewhere, "--masks", "50") == 2
    assert "belongs to another recording. Expected: model: " in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_file_that_holds_more_masks_stays_whole(
    arguments: list[object], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run(*arguments) == 0
    capsys.readouterr()
    held = (tmp_path / "r.npz").read_bytes()
    assert run(*_changed(arguments, "--masks", 40)) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["masks"] == 45
    assert "holds 45 masks, more than the 40 asked for" in " ".join(printed.err.split())
    assert (tmp_path / "r.npz").read_bytes() == held


def test_a_record_that_stays_too_short_for_a_surrogate_is_refused_before_the_work(
    arguments: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    where = arguments.index("--surrogate")
    assert run(*_changed(arguments[:where] + arguments[where + 2 :], "--masks", 5)) == 0
    capsys.readouterr()
    monkeypatch.setattr("prune_env.cli.record.Record._parts", lambda *_: pytest.fail("work"))
    assert run(*_changed(arguments, "--masks", 20)) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "Expected: --masks 40. Actual: --masks 20, 5 in " in said


def test_a_file_that_another_process_records_into_is_refused_before_the_work(
    arguments: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr("prune_env.cli.record.Record._parts", lambda *_: pytest.fail("work"))
    with locked(tmp_path / "r.npz"):
        assert run(*arguments) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(r"Another process records into .*Remedy: wait for it, or", said)
    assert not (tmp_path / "r.npz").exists()


def test_a_model_whose_labels_are_reversed_is_not_recorded(
    arguments: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """Every answer is wrong here: the same model, the other way round, is right."""
    measured = "prune_env.research.recording.recording.Recording._measure"
    monkeypatch.setattr(measured, lambda *_: pytest.fail("measured"))
    loaded = load_classifier(write_tiny_folder(tmp_path / "model", seed=2))
    data = tiny_dataset(60)
    evaluator = ReferenceEvaluator(loaded.model, loaded.tokenizer, data)
    answers = evaluator.evaluate(evaluator.available[None]).predictions[0]
    assert 10 < answers.sum() < 50  # of both classes, so that each can be the other
    write_jsonl(tmp_path / "clean.jsonl", replace(data, labels=1 - answers))
    assert run(*arguments) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "The label order of model looks reversed" in said
    assert not (tmp_path / "r.npz").exists()


@pytest.mark.parametrize("attack", [False, True])
def test_a_folder_needs_a_test_part_only_where_an_attack_triggers_it(
    attack: bool, arguments: list[object], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in ("train", "dev"):
        write_jsonl(tmp_path / "parts" / f"{name}.jsonl", tiny_dataset(32))
    asked = ["--attack", "rare-word"] if attack else []
    got = run(*_changed(arguments, "--data", tmp_path / "parts"), *asked)
    assert got == (2 if attack else 0)
    assert ("holds no test file" in capsys.readouterr().err) == attack


def test_a_reward_that_changes_words_is_refused_on_images_before_the_model_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("prune_env.cli.triggered.ready_subject", lambda *_: pytest.fail("work"))
    model = ["--model", write_tiny("vit", tmp_path / "model"), "--out", tmp_path / "r.npz"]
    data = ["--data", write_tiny_images(tmp_path / "images"), "--image-column", "image"]
    assert run("record", *model, *data) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "The reward 'inverted-trigger' changes words" in said
    assert "Actual: images" in said
    assert not (tmp_path / "r.npz").exists()
