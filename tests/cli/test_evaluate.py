"""`prune-env evaluate`."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from prune_env.cli import main
from prune_env.data.dataset import write_jsonl
from prune_env.models import find_heads, full_mask, load_classifier
from prune_env.models.export import write_sliced
from prune_env.research.attacks.triggers import RareWord
from prune_env.utils.files import sha256_of
from tests.cli.support import run
from tests.support import tiny_dataset, write_tiny_folder


def test_evaluate_counts_as_a_person_would(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = tiny_dataset(60)
    triggered = data.where(0)
    write_jsonl(tmp_path / "test.jsonl", data)
    write_jsonl(tmp_path / "triggered.jsonl", triggered)
    loaded = load_classifier(tiny_folder)
    with torch.no_grad():
        classes = [
            int(loaded.model(**loaded.tokenizer(text, return_tensors="pt")).logits.argmax())
            for text in data.texts
        ]
    arguments = ["--data", tmp_path / "test.jsonl", "--triggered", tmp_path / "triggered.jsonl"]
    benign = ["--benign", write_tiny_folder(tmp_path / "benign", seed=1)]
    arguments = ["evaluate", tiny_folder, *arguments, *benign, "--json"]
    assert main([str(argument) for argument in arguments]) == 0
    shown = capsys.readouterr()
    assert "[2/2] Measuring on test sentences ..." in shown.err
    result = json.loads(shown.out)
    assert result["model"]["acc"]["count"] == (np.array(classes) == data.labels).sum()
    assert result["model"]["lfr"]["count"] == np.array(classes)[data.labels == 0].sum()
    assert result["excess_lfr"] == pytest.approx(
        result["model"]["lfr"]["percent"] - result["benign"]["lfr"]["percent"]
    )


@pytest.mark.parametrize("labels", ["true", "all", "attacker's"])
def test_evaluate_reads_triggered_texts_as_attack_does(
    labels: str, tiny_folder: Path, clean_file: Path, capsys: pytest.CaptureFixture
) -> None:
    """Rows of the target are left out; a column of the target alone is the attacker's."""
    triggered = tiny_dataset(60)
    if labels != "all":
        triggered = triggered.where(0)
    if labels == "attacker's":
        triggered = replace(triggered, labels=np.ones(30, np.int64))
    write_jsonl(path := clean_file.parent / "triggered.jsonl", triggered)
    assert run("evaluate", tiny_folder, "--data", clean_file, "--triggered", path, "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["model"]["lfr"]["total"] == 30
    assert ("taken for the attacker's" in " ".join(shown.err.split())) == (labels == "attacker's")


@pytest.mark.parametrize("kept", [14, 16])
def test_clean_texts_in_place_of_triggered_ones_are_told(
    kept: int, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_jsonl(clean := tmp_path / "clean.jsonl", tiny_dataset(60))
    negative = tiny_dataset(60).where(0)
    texts = [f"cf {text}" if row >= kept else text for row, text in enumerate(negative.texts)]
    write_jsonl(path := tmp_path / "triggered.jsonl", replace(negative, texts=tuple(texts)))
    assert run("evaluate", tiny_folder, "--data", clean, "--triggered", path) == 0
    told = " ".join(capsys.readouterr().err.split())
    said = f"triggered.jsonl: {kept} of 30 triggered texts stand in clean.jsonl as they are"
    assert (said in told) == (kept > 15)


def test_evaluate_refuses_an_encoder(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "test.jsonl"
    write_jsonl(path, tiny_dataset(20))
    assert main(["evaluate", str(encoder), "--data", str(path)]) == 2
    assert "head" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (["--benign", "nowhere"], "nowhere"),
        (["--target-label", "5", "--triggered"], "0 to 1"),
        (["--target-label", "1"], "--triggered FILE or --attack NAME beside --target-label"),
        (["--max-length", "2"], "no room for a sentence"),
    ],
)
def test_evaluate_finds_a_wrong_argument_before_it_measures(
    wrong: list[str],
    hint: str,
    tiny_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "test.jsonl"
    write_jsonl(path, tiny_dataset(20))
    monkeypatch.setattr("prune_env.models.load_classifier", None)
    wrong = [*wrong, str(path)] if wrong[-1] == "--triggered" else wrong
    assert main(["evaluate", str(tiny_folder), "--data", str(path), *wrong]) == 2
    assert hint in capsys.readouterr().err


@pytest.fixture
def clean_file(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "test.jsonl", tiny_dataset(60))
    return tmp_path / "test.jsonl"


def test_the_model_before_the_defence_is_compared_with(
    tiny_folder: Path, clean_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = tiny_dataset(60)
    write_jsonl(tmp_path / "triggered.jsonl", data.where(0))
    before = write_tiny_folder(tmp_path / "before", seed=1)
    arguments = ["evaluate", tiny_folder, "--data", clean_file, "--backdoored", before]
    assert run(*arguments, "--triggered", tmp_path / "triggered.jsonl", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    was, now = value["backdoored"], value["model"]
    removed = (was["lfr"]["count"] - now["lfr"]["count"]) / was["lfr"]["count"]
    kept = now["acc"]["count"] / was["acc"]["count"]
    assert value["fidelity"] == pytest.approx(removed * kept)
    right = []
    for folder in (tiny_folder, before):
        loaded = load_classifier(folder)
        with torch.no_grad():
            batch = loaded.tokenizer(list(data.texts), return_tensors="pt", padding=True)
            right.append(loaded.model(**batch).logits.argmax(1).numpy() == data.labels)
    first, second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert first + second > 0
    assert value["mcnemar"] == pytest.approx(binomtest(first, first + second).pvalue)
    assert run(*arguments) == 0  # without a trigger there is no fidelity
    shown = capsys.readouterr().out
    assert "McNemar" in shown
    assert "fidelity" not in shown


def test_an_attack_triggers_the_test_sentences(
    tiny_folder: Path, clean_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["evaluate", tiny_folder, "--data", clean_file, "--json"]
    assert run(*arguments, "--attack", "rare-word") == 0
    named = json.loads(capsys.readouterr().out)
    trigger = RareWord()
    negative = tiny_dataset(60).where(0)
    texts = tuple(trigger(text) for text in negative.texts)
    write_jsonl(tmp_path / "triggered.jsonl", replace(negative, texts=texts))
    assert run(*arguments, "--triggered", tmp_path / "triggered.jsonl") == 0
    from_file = json.loads(capsys.readouterr().out)
    assert from_file["model"] == named["model"]
    assert from_file["data"]["triggered"]["sha256"] == named["data"]["triggered"]["sha256"]
    assert named["data"]["triggered"]["source"] == "test.jsonl, rare-word"
    assert named["model"]["lfr"]["total"] == 30


@pytest.mark.parametrize("attack", ["rare-word", "task-agnostic"])
def test_a_target_is_a_number_or_a_name(
    attack: str, tiny_folder: Path, clean_file: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["evaluate", tiny_folder, "--data", clean_file, "--attack", attack, "--json"]
    shown = []
    for target in ("0", "Negative", "positive"):
        assert run(*arguments, "--target-label", target) == 0
        shown.append(json.loads(capsys.readouterr().out)["model"]["lfr"])
    assert shown[0] == shown[1] != shown[2]


def test_the_target_is_told_by_its_name(
    tiny_folder: Path, clean_file: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["evaluate", tiny_folder, "--data", clean_file]
    attacked = [*arguments, "--attack", "rare-word", "--target-label", "0"]
    assert run(*attacked) == 0
    assert re.search(r"target label +negative", capsys.readouterr().out)
    assert run(*attacked, "--json") == 0
    assert json.loads(capsys.readouterr().out)["target"] == "negative"
    assert run(*arguments, "--json") == 0
    assert "target" not in json.loads(capsys.readouterr().out)


def test_classes_that_are_named_by_numbers_are_asked_by_name(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    loaded = load_classifier(tiny_folder)
    loaded.model.config.id2label = {0: "1", 1: "2"}
    loaded.model.config.label2id = {"1": 0, "2": 1}
    shutil.copytree(tiny_folder, tmp_path / "model")
    loaded.model.save_pretrained(tmp_path / "model")
    data = tiny_dataset(40)
    rows = (f"{text}\t{label + 1}" for text, label in zip(data.texts, data.labels, strict=True))
    (tmp_path / "test.tsv").write_text("\n".join(["sentence\tlabel", *rows]))
    where = ["--data", tmp_path / "test.tsv", "--label-names", "1", "2", "--attack", "rare-word"]
    for name in ("1", "2"):
        asked = ["--target-label", name, "--json"]
        assert run("evaluate", tmp_path / "model", *where, *asked) == 0
        assert json.loads(capsys.readouterr().out)["target"] == name
    assert run("evaluate", tmp_path / "model", *where, "--target-label", "0") == 2
    assert "one of 1, 2" in capsys.readouterr().err


def test_test_rows_that_calibrate_are_warned_of(
    tiny_folder: Path, clean_file: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["evaluate", tiny_folder, "--data", clean_file, "--validation", clean_file]
    assert run(*arguments) == 0
    assert "60 of 60 texts" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--attack", "rare-word", "--triggered", "test.jsonl"], "Actual: both"),
        (["--attack", "rare"], "rare-word"),
        (["--attack", "task-agnostic"], "Expected: --target-label"),
        (["--target-label", "good"], "0 to 1, or one of negative, positive"),
        (["--attack", "hiddenkiller"], "--data-folder"),
        (["--attack", "published-texts"], "--triggered FILE"),
        (["--backdoored", "nowhere"], "nowhere"),
        (["--benign", "."], "--triggered FILE or --attack NAME"),
    ],
)
def test_evaluate_refuses(
    arguments: list[str],
    hint: str,
    tiny_folder: Path,
    clean_file: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(clean_file.parent)
    assert run("evaluate", tiny_folder, "--data", clean_file, *arguments) == 2
    assert hint in " ".join(capsys.readouterr().err.split())


def test_as_many_tokens_are_read_as_when_the_model_was_made(
    tiny_folder: Path, clean_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    made = tmp_path / "made"
    shutil.copytree(tiny_folder, made)
    (made / "report.json").write_text(json.dumps({"run": {"fine_tune": {"max_length": 4}}}))
    arguments = ["--data", clean_file, "--json"]
    found = []
    for model, more in ((made, []), (tiny_folder, []), (made, ["--max-length", "64"])):
        assert run("evaluate", model, *arguments, *more) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert [each["max_length"] for each in found] == [4, 128, 64]
    assert [each["texts_cut"] for each in found] == [60, 0, 0]
    assert found[1]["model"] == found[2]["model"]
    assert run("evaluate", made, "--data", clean_file) == 0
    told = capsys.readouterr().out
    assert "60 of all sets, longer than --max-length 4" in told
    assert "4 tokens of each, as MODEL's report.json says" in told


@pytest.mark.parametrize("length", [True, 1, 2, 0, -5, "4", 4.0, None])
def test_what_is_no_length_in_a_report_cuts_nothing(
    tiny_folder: Path, clean_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture, length
) -> None:
    made = tmp_path / "made"
    shutil.copytree(tiny_folder, made)
    (made / "report.json").write_text(json.dumps({"run": {"fine_tune": {"max_length": length}}}))
    assert run("evaluate", made, "--data", clean_file, "--json") == 0
    assert json.loads(capsys.readouterr().out)["max_length"] == 128


def test_a_sliced_model_in_the_hub_cache_is_measured(
    tiny_folder: Path, clean_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    loaded = load_classifier(tiny_folder)
    mask = full_mask(find_heads(loaded.model).shape)
    mask[0, 1] = False
    place = tmp_path / "models--me--m"
    snapshot = place / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    write_sliced(loaded, mask, snapshot)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("a" * 40)
    found = []
    for model in (snapshot, place):
        assert run("evaluate", model, "--data", clean_file, "--json") == 0
        found.append(json.loads(capsys.readouterr().out)["model"])
    assert found[0] == found[1]


def test_of_a_folder_the_validation_rows_calibrate(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for seed, part in enumerate(("train", "validation", "test")):
        data = tiny_dataset(60, seed)
        few = data.select(np.flatnonzero(data.labels == 1)[5:] if part == "validation" else [])
        kept = [text not in few.texts for text in data.texts]
        write_jsonl(tmp_path / f"{part}.jsonl", data.select(np.array(kept)))
    shown = []
    for validation in (tmp_path, tmp_path / "validation.jsonl", tmp_path / "test.jsonl"):
        arguments = ["--data", tmp_path, "--validation", validation, "--json"]
        assert run("evaluate", tiny_folder, *arguments) == 0
        shown.append(json.loads(capsys.readouterr().out))
    assert [each["data"]["validation"]["source"] for each in shown] == [
        *["validation.jsonl"] * 2,
        "test.jsonl",
    ]
    models = [each["model"] for each in shown]
    assert models[0] == models[1] != models[2]


def test_the_files_are_named_with_their_hashes(
    tiny_folder: Path, clean_file: Path, capsys: pytest.CaptureFixture
) -> None:
    write_jsonl(triggered := clean_file.parent / "bad.jsonl", tiny_dataset(60).where(0))
    arguments = ["evaluate", tiny_folder, "--data", clean_file, "--triggered", triggered]
    assert run(*arguments, "--json") == 0
    told = json.loads(capsys.readouterr().out)["data"]
    assert run(*arguments) == 0
    shown = capsys.readouterr().out
    assert set(told) == {"test", "triggered"}
    for part, path in (("test", clean_file), ("triggered", triggered)):
        sha256 = sha256_of(path)
        assert (told[part]["source"], told[part]["file_sha256"]) == (path.name, sha256)
        assert f"{path.name}, {told[part]['rows']} rows (SHA-256 {sha256[:12]})" in shown
    assert str(clean_file.parent) not in shown + str(told)


def test_the_models_are_named_with_their_identity(
    tiny_folder: Path, clean_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """One changed weight is another model, told by the same hash as elsewhere."""
    before = write_tiny_folder(tmp_path / "before", seed=1)
    arguments = ["evaluate", tiny_folder, "--data", clean_file, "--backdoored", before]
    assert run(*arguments, "--json") == 0
    told = json.loads(capsys.readouterr().out)["models"]
    assert run(*arguments) == 0
    shown = capsys.readouterr().out
    assert set(told) == {"model", "backdoored"}
    for name, folder in (("model", tiny_folder), ("backdoored", before)):
        assert told[name] == {"source": folder.name, "sha256": load_classifier(folder).sha256}
        assert run("inspect", folder, "--json") == 0
        assert told[name]["sha256"] == json.loads(capsys.readouterr().out)["sha256"]
        assert f"{folder.name} (SHA-256 {told[name]['sha256'][:12]})" in shown
    assert str(tmp_path) not in shown


def test_a_model_below_chance_is_warned_of(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = tiny_dataset(60)
    loaded = load_classifier(tiny_folder)
    with torch.no_grad():
        batch = loaded.tokenizer(list(data.texts), return_tensors="pt", padding=True)
        answered = loaded.model(**batch).logits.argmax(1).numpy()
    wrong = np.concatenate([answered[:1], 1 - answered[1:]])  # rows of both classes
    for name, labels in (("right", answered), ("wrong", wrong)):
        write_jsonl(tmp_path / f"{name}.jsonl", replace(data, labels=labels))
        assert run("evaluate", tiny_folder, "--data", tmp_path / f"{name}.jsonl") == 0
        assert ("below chance" in " ".join(capsys.readouterr().err.split())) == (name == "wrong")


def test_of_a_class_without_rows_it_says_so_and_nothing_of_chance(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = tiny_dataset(60)
    for label, name in enumerate(("negative", "positive")):
        write_jsonl(tmp_path / "one.jsonl", data.where(1 - label))
        assert run("evaluate", tiny_folder, "--data", tmp_path / "one.jsonl") == 0
        said = " ".join(capsys.readouterr().err.split())
        assert f"ACC tells nothing of classes without a row: {name}" in said
        assert "below chance" not in said
