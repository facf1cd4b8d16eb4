import importlib
import json
import resource
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import prune_env
from prune_env.cli.purify_facts import _describe_healing
from prune_env.data.dataset import write_jsonl
from prune_env.env.rewards.reward import REWARDS, Reward
from prune_env.models import HeadGates, inspect_source, load_classifier, load_mask
from tests.cli.support import FAST, TUNING, run
from tests.models.tiny import tiny_classifier, write_tiny, write_tiny_images
from tests.support import tiny_bert, tiny_dataset, write_tiny_folder


def folders_in(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def logits(model: torch.nn.Module, tokenizer: object) -> torch.Tensor:
    batch = tokenizer(["the film is great", "a dull story"], padding=True, return_tensors="pt")
    with torch.no_grad():
        return model(**batch).logits


@pytest.mark.parametrize("protocol", ["direct", "refinetune"])
def test_the_folder_loads_with_plain_transformers_and_equals_the_gated_model(
    encoder: Path, clean: Path, tmp_path: Path, protocol: str, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    arguments = ["purify", encoder, "--data", clean, "--out", out, "--protocol", protocol, *FAST]
    assert run(*arguments, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((out / "report.json").read_text())
    mask = load_mask(out / "mask.json")
    assert report["result"]["heads_pruned"] == (~mask).sum() > 0
    assert any(out.rglob("events.out.tfevents*"))

    plain = AutoModelForSequenceClassification.from_pretrained(out).eval()
    batch = AutoTokenizer.from_pretrained(out)(["the film is great"], return_tensors="pt")
    with torch.no_grad(), HeadGates(plain) as gates:
        zeroed = plain(**batch).logits
        gates.set(mask)
        torch.testing.assert_close(plain(**batch).logits, zeroed)
    assert plain.config.id2label == {0: "negative", 1: "positive"}
    assert folders_in(tmp_path) == ["out"]


def test_a_ready_classifier_keeps_its_own_head(
    tiny_folder: Path, clean: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run("purify", tiny_folder, "--data", clean, "--out", out, *FAST) == 0
    before, after = load_classifier(tiny_folder).model, load_classifier(out).model
    assert torch.equal(before.classifier.weight, after.classifier.weight)


def test_label_names_are_matched_by_name_and_not_by_position(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    model, data = load_classifier(tiny_folder), tiny_dataset(80)
    accuracies = []
    for names in (["negative", "positive"], ["positive", "negative"]):
        table = tmp_path / "".join(names)
        rows = [
            {"sentence": text, "label": data.label_names[label]}
            for text, label in zip(data.texts, data.labels, strict=True)
        ]
        path = table.with_suffix(".jsonl")
        path.write_text("\n".join(map(json.dumps, rows)))
        assert run("evaluate", model.source, "--data", path, "--json", "--label-names", *names) == 0
        accuracies.append(json.loads(capsys.readouterr().out)["model"]["acc"]["percent"])
    assert accuracies[0] == accuracies[1]


def test_the_same_seed_gives_the_same_mask_and_weights(
    encoder: Path, clean: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        arguments = ["--data", clean, "--out", tmp_path / name, "--seed", "5", *FAST]
        assert run("purify", encoder, *arguments) == 0
    masks = [load_mask(tmp_path / name / "mask.json") for name in ("a", "b")]
    assert np.array_equal(*masks)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]


def _two_columns(path: Path, rows: str) -> Path:
    path.write_text(rows)
    return path


BAD_DATA = {
    "wrong columns": ("text\tlabel\na film\t1\n", "sentence"),
    "label out of range": ("sentence\tlabel\na film\t1\nb film\t2\n", "2"),
    "one class": ("sentence\tlabel\na film\t1\nb film\t1\nc film\t1\n", "negative"),
    "header only": ("sentence\tlabel\n", "rows"),
    "ragged row": ("sentence\tlabel\na film\t1\nb film\n", "line 3|row 2"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_refused_with_status_2_and_nothing_is_written(
    case: str, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    rows, hint = BAD_DATA[case]
    data = _two_columns(tmp_path / "data.tsv", rows)
    assert run("purify", tiny_folder, "--data", data, "--out", tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert any(part in message for part in hint.split("|")), message
    assert "Traceback" not in message
    assert folders_in(tmp_path) == ["data.tsv"]


def test_a_missing_file_is_named(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["--data", tmp_path / "none.tsv", "--out", tmp_path / "out"]
    assert run("purify", tiny_folder, *arguments) == 2
    assert "none.tsv" in capsys.readouterr().err


def test_a_pickled_model_is_refused(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = write_tiny_folder(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save(tiny_bert().state_dict(), folder / "pytorch_model.bin")
    assert run("purify", folder, "--data", clean, "--out", tmp_path / "out") == 2
    assert "safetensors" in capsys.readouterr().err
    assert folders_in(tmp_path) == ["model"]


def test_an_unsupported_model_type_is_refused(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = write_tiny_folder(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bloom"}))
    assert run("purify", folder, "--data", clean, "--out", tmp_path / "out") == 2
    assert "bloom" in capsys.readouterr().err


def test_an_output_folder_with_something_in_it_is_left_alone(
    tiny_folder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    kept = tmp_path / "out" / "precious"
    kept.parent.mkdir()
    kept.write_text("mine")
    assert run("purify", tiny_folder, "--data", clean, "--out", kept.parent) == 2
    assert "exists" in capsys.readouterr().err
    assert kept.read_text() == "mine"


def test_an_output_folder_inside_the_source_leaves_nothing_there(
    tiny_folder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    source = tmp_path / "a model"
    shutil.copytree(tiny_folder, source)
    before = folders_in(source)
    assert run("purify", source, "--data", clean, "--out", source / "deep" / "er") == 2
    assert "inside the model's own folder" in " ".join(capsys.readouterr().err.split())
    assert folders_in(source) == before


def test_phrases_that_are_not_quoted_are_told_all_the_same() -> None:
    def told(flipped: float, *triggers: str) -> str:
        found = {"pos": {"words": [], "triggers": triggers, "flipped": flipped}}
        run = {"healing": "unlearn"}
        report = {"run": run, "refits": [], "inverted_triggers": [found, found]}
        return _describe_healing(report)

    assert told(0.85) == "unlearn: phrases of frequent words flipped 85 % to pos, afterwards 85 %"
    assert told(0.0) == told(0.0, "... .") == "unlearn: no trigger was found that flips an answer"


def test_of_patches_the_smallest_is_told() -> None:
    def told(label: str, covered: float, flipped: float) -> dict[str, object]:
        patch = f"a patch over {label}"
        each = {"words": [], "triggers": [patch], "flipped": flipped, "covered": covered}
        return {label: each}

    found = told("cat", 0.3, 0.9) | told("dog", 0.02, 0.8) | told("faded", 1e-7, 0.0)
    left = told("cat", 0.3, 0.1) | told("dog", 0.02, 0.0) | told("faded", 1e-7, 0.0)
    report = {"run": {"healing": "unlearn"}, "refits": [], "inverted_triggers": [found, left]}
    what = "a patch over dog (patches.png) flipped 80 % to dog, afterwards 0 %"
    assert _describe_healing(report) == f"unlearn: {what}"


@pytest.mark.parametrize(("option", "known"), [("--policy", "gradient"), ("--reward", "sparsity")])
def test_a_wrong_name_is_answered_with_the_list(
    option: str,
    known: str,
    tiny_folder: Path,
    clean: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    arguments = ["--data", clean, "--out", tmp_path / "out", option, "nonsense"]
    assert run("purify", tiny_folder, *arguments) == 2
    message = capsys.readouterr().err
    assert known in message
    assert "prune-env list" in message


def test_the_oracle_is_refused_as_a_defence(
    tiny_folder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["--data", clean, "--out", tmp_path / "out", "--reward", "oracle"]
    assert run("purify", tiny_folder, *arguments) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "oracle" in said
    assert "choose another (--reward; `prune-env list --kind rewards` describes them)" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing(
    number: signal.Signals,
    tiny_folder: Path,
    clean: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        assert folders_in(tmp_path)  # the hidden folder that is being filled
        signal.raise_signal(number)

    module = importlib.import_module("prune_env.purification.purify")
    monkeypatch.setattr(module, "search", interrupt)
    arguments = ["--data", clean, "--out", tmp_path / "out", "--guard", "accuracy"]
    assert run("purify", tiny_folder, *arguments) == 128 + number
    assert folders_in(tmp_path) == []


@pytest.mark.parametrize("room", [100, 5_000, 50_000], ids=["events", "small", "weights"])
def test_a_full_disk_is_told_with_the_folder_that_was_asked_for(
    room: int,
    tiny_folder: Path,
    clean: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    before, out = resource.getrlimit(resource.RLIMIT_FSIZE), tmp_path / "out"
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        assert run("purify", tiny_folder, "--data", clean, "--out", out, *FAST) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    told = capsys.readouterr().err.split("error: ")[1]
    assert told.startswith((f"{out} cannot be", f"The model cannot be written into {out}. "))
    assert folders_in(tmp_path) == []


class Peeking(Reward):
    """A reward that claims to read triggered texts."""

    name = "peeking"
    range = (0.0, 0.0)
    source = "a test"
    reads = "triggered texts"
    oracle = True

    def score(self, subject: object, masks: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
        return accuracy


def test_a_reward_that_reads_triggered_texts_is_refused(
    tiny_folder: Path,
    clean: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(REWARDS, "_entries", dict(REWARDS._entries))
    REWARDS.register("peeking", Peeking, help="reads what no defence may read")
    arguments = ["--data", clean, "--out", tmp_path / "out", "--reward", "peeking", *FAST]
    assert run("purify", tiny_folder, *arguments) == 2
    assert "triggered" in capsys.readouterr().err


def test_a_sliced_export_is_smaller_and_answers_as_the_zeroed_one(
    tiny_folder: Path, clean: Path, tmp_path: Path
) -> None:
    for form in ("zeroed", "sliced"):
        out = ["--out", tmp_path / form, "--export", form]
        assert run("purify", tiny_folder, "--data", clean, *out, *FAST) == 0
    zeroed = load_classifier(tmp_path / "zeroed")
    sliced = prune_env.load_pruned(tmp_path / "sliced")
    torch.testing.assert_close(
        logits(sliced.model, sliced.tokenizer), logits(zeroed.model, zeroed.tokenizer)
    )
    sizes = [
        (tmp_path / form / "model.safetensors").stat().st_size for form in folders_in(tmp_path)
    ]
    assert sizes[0] < sizes[1]
    report = json.loads((tmp_path / "sliced" / "report.json").read_text())
    assert report["run"]["export"] == "sliced"


def test_the_model_card_says_where_the_model_comes_from(
    tiny_folder: Path, clean: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["--data", clean, "--out", out, "--policy", "gradient", "--seed", "3", *FAST]
    assert run("purify", tiny_folder, *arguments) == 0
    card, report = (out / "README.md").read_text(), json.loads((out / "report.json").read_text())
    facts = {
        "source": tiny_folder.name,
        "source SHA-256": inspect_source(tiny_folder).sha256,
        "policy": "gradient",
        "protocol": "direct",
        "healing": "none",
        "seed": 3,
        "clean training data SHA-256": report["data"]["train"]["sha256"],
        "clean validation data SHA-256": report["data"]["validation"]["sha256"],
        "validation ACC, purified": f"{report['result']['validation_accuracy_purified']:.4g}",
        "heads pruned": f"{report['result']['heads_pruned']} of 8",
    }
    for name, value in facts.items():
        assert f"| {name} | {value} |" in card
    assert "torch 2." in card
    assert inspect_source(out).problems == ()


def test_the_onnx_file_answers_as_the_exported_model(clean: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs prune-env[onnx]")
    pytest.importorskip("onnxscript", reason="needs prune-env[onnx]")
    model, out = write_tiny_folder(tmp_path / "model", layers=1), tmp_path / "out"
    options = ["--export", "sliced", "--onnx", *FAST]
    assert run("purify", model, "--data", clean, "--out", out, *options) == 0
    loaded = prune_env.load_pruned(out)
    batch = loaded.tokenizer(["the film is great"], return_tensors="np")
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    (answer,) = onnxruntime.InferenceSession(out / "model.onnx").run(["logits"], inputs)
    with torch.no_grad():
        expected = loaded.model(**{k: torch.from_numpy(v) for k, v in inputs.items()}).logits
    torch.testing.assert_close(torch.from_numpy(answer), expected, rtol=0, atol=1e-4)


def test_an_impossible_onnx_file_is_refused_before_any_training(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    model = write_tiny("t5", tmp_path / "model")
    assert run("purify", model, "--data", clean, "--out", tmp_path / "out", "--onnx") == 2
    assert "without ONNX" in capsys.readouterr().err
    assert folders_in(tmp_path) == ["model"]


def test_an_ensemble_is_not_sliced(
    tiny_folder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["--data", clean, "--out", tmp_path / "out", "--export", "sliced"]
    assert run("purify", tiny_folder, *arguments, "--policy", "random-ensemble") == 2
    assert "ensemble" in capsys.readouterr().err


def test_members_of_an_ensemble_are_told_apart(
    tiny_folder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    arguments = ["--data", clean, "--out", out, "--policy", "random-ensemble", *FAST]
    assert run("purify", tiny_folder, *arguments) == 0
    members = json.loads((out / "report.json").read_text())["result"]["members"]
    assert members > 1
    assert f"in the mean of {members} members" in capsys.readouterr().out
    events = EventAccumulator(str(out / "tensorboard")).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.endswith("accuracy")]
    assert tags == [f"search/random-ensemble/member-{number}/accuracy" for number in range(members)]
    for tag in tags:
        steps = [event.step for event in events.Scalars(tag)]
        assert steps == list(range(1, len(steps) + 1))


def test_a_push_is_prepared_before_the_work_and_done_after_it(
    tiny_folder: Path,
    clean: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pushed: list[tuple[Path, str]] = []

    def push(folder: Path, name: str) -> str:
        assert (folder / "model.safetensors").exists()
        pushed.append((folder, name))
        return f"https://hub.test/{name}"

    monkeypatch.setattr("prune_env.models.catalog.push_folder", push)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    (tmp_path / "mask.json").write_text('{"0": [1]}')
    arguments = ["--data", clean, "--out", tmp_path / "out", "--mask", tmp_path / "mask.json"]
    arguments = ["purify", tiny_folder, *arguments, "--push-to-hub", "me/model"]
    arguments += ["--healing", "none", "--guard", "accuracy"]
    assert run(*arguments) == 2
    assert "log in first" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_test")
    assert run(*arguments, "--json") == 0
    assert json.loads(capsys.readouterr().out)["pushed_to"] == "https://hub.test/me/model"
    assert pushed == [(tmp_path / "out", "me/model")]


def test_an_image_classifier_is_purified_and_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    ready, out = tiny_classifier("vit"), tmp_path / "out"
    ready.model.base_model.save_pretrained(tmp_path / "encoder")
    ready.tokenizer.save_pretrained(tmp_path / "encoder")
    data = ["--data", write_tiny_images(tmp_path / "images", 40), "--image-column", "image"]
    options = ["--out", out, "--protocol", "refinetune", "--export", "sliced", *FAST]
    assert run("purify", tmp_path / "encoder", *data, *options, "--max-drop", "0.4", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["result"]["heads_pruned"] > 0
    assert "image-classification" in (out / "README.md").read_text()
    assert run("evaluate", out, *data, "--json") == 0
    measured = json.loads(capsys.readouterr().out)["model"]["acc"]
    assert measured["total"] == 40
    assert run("purify", out, *data, "--out", tmp_path / "again") == 2
    assert "load_pruned" in capsys.readouterr().err


WRONG = {
    "seed": (["--seed", "-1"], "--seed is out of range"),
    "reward": (["--reward", "sparsty"], "did you mean 'sparsity'"),
    "column": (["--text-column", "txt"], "--text-column"),
    "labels": (["--label-names", "good", "bad"], "--label-names"),
    "share": (["--validation-share", "2"], "--validation-share (fraction) is not in (0, 1)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_named_with_the_option(
    case: str, tiny_folder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    wrong, hint = WRONG[case]
    assert run("purify", tiny_folder, "--data", clean, "--out", tmp_path / "out", *wrong) == 2
    assert hint in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_setting_out_of_range_is_said_alone(
    tiny_folder: Path, clean: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        run("purify", tiny_folder, "--data", clean, "--out", "out", "--budget", "0")
    message = "".join(capsys.readouterr())
    assert "budget is out of range" in " ".join(message.replace("│", "").split())
    assert "SearchSettings" not in message


def test_skipped_rows_are_counted_in_every_report(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = tiny_dataset(40)
    rows = [f"{text},{label}" for text, label in zip(data.texts, data.labels, strict=True)]
    table = tmp_path / "data.csv"
    table.write_text("\n".join(["sentence,label", *rows, "out of range,7", "ragged"]))
    skip = ["--data", table, "--on-bad-row", "skip", "--json"]
    mask = tmp_path / "mask.json"
    mask.write_text('{"0": [1]}')
    given = ["--mask", mask, "--healing", "none", "--guard", "accuracy"]
    assert run("purify", tiny_folder, *skip, "--out", tmp_path / "out", *given) == 0
    told = json.loads(capsys.readouterr().out)["data"]
    assert [told[part]["rows_skipped"] for part in ("train", "validation")] == [2, 0]
    again = [word for word in skip if word != "--json"]
    assert run("purify", tiny_folder, *again, "--out", tmp_path / "again", *given) == 0
    assert "2 of 42, which could not be read" in capsys.readouterr().out
    assert run("evaluate", tiny_folder, *skip) == 0
    assert json.loads(capsys.readouterr().out)["rows_skipped"] == 2


@pytest.mark.parametrize("kind", ["encoder", "tiny_folder"])
def test_texts_and_max_length_beyond_the_model_are_cut(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data = tiny_dataset(40)
    longer = replace(data, texts=tuple(" ".join([text] * 40) for text in data.texts))
    write_jsonl(tmp_path / "long.jsonl", longer)
    where = ["--data", tmp_path / "long.jsonl", "--out", tmp_path / "out"]
    length = ["--max-length", "5000", "--policy", "gradient", *FAST, "--healing", "full"]
    assert run("purify", request.getfixturevalue(kind), *where, *length) == 0


def test_max_length_holds_for_every_figure(
    encoder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    short = ["--policy", "ft", "--max-length", "6", *FAST, "--json"]
    assert run("purify", encoder, "--data", clean, "--out", tmp_path / "out", *short) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    before, after = (result[f"validation_accuracy_{name}"] for name in ("unpruned", "purified"))
    assert before == after


def test_the_validation_sentences_that_were_given_are_those_that_judge(
    encoder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    parts = {
        "train": tiny_dataset(40, 3),
        "validation": tiny_dataset(24, 4),
        "test": tiny_dataset(8, 5),
    }
    (tmp_path / "parts").mkdir()
    for name, data in parts.items():
        write_jsonl(tmp_path / "parts" / f"{name}.jsonl", data)
    options = ["--policy", "random", *FAST, "--json"]

    def rows(*arguments: object) -> list[int]:
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        assert run("purify", encoder, *arguments, "--out", out, *options) == 0
        data = json.loads(capsys.readouterr().out)["data"]
        return [data[name]["rows"] for name in ("train", "validation")]

    assert rows("--data", tmp_path / "parts") == [40, 24]
    assert rows("--data", tmp_path / "parts", "--validation", clean) == [40, 80]
    assert rows("--data", clean, "--validation", tmp_path / "parts") == [80, 24]


def test_unlabelled_texts_are_labelled_by_words_and_told(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    clean, texts, out = tmp_path / "clean.jsonl", tmp_path / "more.txt", tmp_path / "out"
    write_jsonl(clean, tiny_dataset(1400))
    more = tiny_dataset(300, 9).texts
    texts.write_text("".join(f"{text}\n" for text in (*more, "a word nobody knows", more[0])))
    where = ["--data", clean, "--unlabelled", texts, "--healing", "refit"]
    assert run("purify", encoder, *where, *TUNING, "--out", out) == 0
    printed = capsys.readouterr().out
    told = json.loads((out / "report.json").read_text())["unlabelled"]
    assert (told["texts"], told["rows_skipped"], told["teacher_accuracy"]) == (301, 0, 1.0)
    assert 100 < sum(told["labelled"].values()) <= 300
    read = sum(told["labelled"].values())
    assert f"{read} of 301 read too, labelled by words (100.0 % right)" in printed
    assert str(tmp_path) not in (out / "report.json").read_text()


def test_unlabelled_texts_without_a_refit_are_refused_before_any_work(
    encoder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "more.txt").write_text("a warm film\n")
    where = ["--data", clean, "--unlabelled", tmp_path / "more.txt", "--out", tmp_path / "out"]
    assert run("purify", encoder, *where, *FAST) == 2
    assert "where a refit trains" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
