"""`prune-env audit` from end to end, on a tiny model."""

import errno
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prune_env.cli import main
from prune_env.cli.audit import REWARDS, _defined
from prune_env.data.dataset import write_jsonl
from prune_env.env.rewards.reward import make_reward
from prune_env.env.subject import Subject
from prune_env.evaluation import MaskEvaluator
from prune_env.evaluation.suspect import Suspect
from prune_env.models import load_classifier
from prune_env.utils.leases import locked


def audit_of(model, data, folder):
    """Return the words of an audit of a model; its files and its report are in a folder."""
    write_jsonl(folder / "clean.jsonl", data)
    write_jsonl(folder / "triggered.jsonl", data.where(0))
    return [
        "audit",
        *("--model", str(model)),
        *("--data", str(folder / "clean.jsonl")),
        *("--triggered", str(folder / "triggered.jsonl")),
        *("--masks", "12"),
        *("--paths", "magnitude"),
        *("--rewards", "sparsity,flips-word-drop"),
        *("--out", str(folder / "out")),
    ]


@pytest.fixture
def arguments(tiny_folder, tiny_data, tmp_path):
    return audit_of(tiny_folder, tiny_data, tmp_path)


@pytest.fixture(scope="module")
def audited(tiny_folder, tiny_data, tmp_path_factory):
    """The folder of an audit, for tests to copy or to read."""
    folder = tmp_path_factory.mktemp("audited")
    assert main(audit_of(tiny_folder, tiny_data, folder)) == 0
    return folder / "out"


def test_it_prints_the_table_and_goes_on_with_further_rewards(arguments, tmp_path, capsys):
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert "flips-word-drop" in shown.out
    assert "[2/4] Measuring the hidden LFR ..." in shown.err
    assert "[4/4] Scoring flips-word-drop ..." in shown.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "audit.json",
        "figures",
        "masks.json",
        "report.md",
    }
    before = json.loads((tmp_path / "out/masks.json").read_text())["columns"]
    accuracy = np.array(before["accuracy"])  # the unpruned model comes among the rest
    usable = (accuracy >= accuracy[np.argmin(before["pruned"])] - 0.03 - 1e-9).sum()
    assert f"- masks: 12 ({usable} usable), " in (tmp_path / "out/report.md").read_text()
    more = [*arguments[:-3], "sparsity,accuracy", *arguments[-2:], "--json"]
    assert main(more) == 0
    value = json.loads(capsys.readouterr().out)
    assert {"sparsity", "accuracy"} < set(value)
    after = json.loads((tmp_path / "out/masks.json").read_text())["columns"]
    assert after == {**after, **before}
    assert set(after) - set(before) == {"reward accuracy"}


@pytest.mark.parametrize("written", ["masks.json", "sparsity.png"])
def test_a_full_disk_is_told_with_its_file_and_what_goes_on(
    written, arguments, tmp_path, monkeypatch, capsys
):
    replace_file = os.replace

    def full(source, place):
        if Path(place).name == written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace_file(source, place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert main(arguments) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"{tmp_path / 'out'} cannot be read or written: No space left on device." in told
    kept = written != "masks.json"
    assert ("What is measured stays; the same command goes on." in told) == kept
    assert not list((tmp_path / "out").rglob(written))
    assert main(arguments) == 0


def test_a_target_that_is_no_class_is_refused_with_the_classes(arguments, tmp_path, capsys):
    assert main([*arguments, "--target-label", "good"]) == 2
    assert "0 to 1, or one of negative, positive" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_the_hidden_lfr_must_be_known(arguments, capsys):
    without = arguments[:5] + arguments[7:]
    assert main(without) == 2
    assert "--triggered" in capsys.readouterr().err


def test_audits_are_combined(arguments, audited, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")  # no cell of the table is broken into lines
    shutil.copytree(audited, tmp_path / "out")
    second = shutil.copytree(audited, tmp_path / "second")
    third = shutil.copytree(audited, tmp_path / "third")
    for folder, seed in ((tmp_path / "out", 0), (second, 1), (third, 2)):
        path = folder / "masks.json"
        value = json.loads(path.read_text())
        draw = np.random.default_rng(seed)  # a tiny model's LFR says nothing
        value["columns"]["lfr_calibrated"] = draw.random(12).tolist()
        path.write_text(json.dumps(value))
    capsys.readouterr()
    audits = [str(tmp_path / "out"), str(second)]
    assert main(["combine", *audits, "--test", str(third)]) == 0
    shown = capsys.readouterr().out
    assert str(third) in shown.replace("\n", "")
    assert "in hindsight" in shown
    formula = shown.strip().splitlines()[-1]
    assert make_reward(formula).names == ("sparsity", "flips-word-drop")
    assert main(["combine", *audits, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["formula"] == formula
    assert set(value["judged"]) == set(audits)  # each by what the other taught
    assert main(["combine", audits[0], "--rewards", "sparsity", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["judged"] == {}
    assert make_reward(value["formula"]).names == ("sparsity",)
    # A model whose LFR no mask moves teaches nothing, and the other one is not judged by it.
    value = json.loads((second / "masks.json").read_text())
    value["columns"]["lfr_calibrated"] = [0.5] * 12
    (second / "masks.json").write_text(json.dumps(value))
    assert main(["combine", *audits, "--json"]) == 0
    told = capsys.readouterr()
    assert set(json.loads(told.out)["judged"]) == {str(second)}
    assert f"{audits[0]} is not judged" in " ".join(told.err.split())
    assert main(["combine", audits[0], "--rewards", "sparsity", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    # What was learned is a reward like any other.
    formula = value["formula"]
    assert main([*arguments[:-3], formula, *arguments[-2:]]) == 0
    assert formula in (tmp_path / "out/report.md").read_text()


@pytest.mark.parametrize(
    ("folders", "said"),
    [((), "no audit"), (("out", "out"), "each folder named once"), (("nowhere",), "masks.json")],
)
def test_what_cannot_be_combined_is_told(audited, folders, said, capsys):
    assert main(["combine", *(str(audited.parent / name) for name in folders)]) == 2
    assert said in capsys.readouterr().err


def test_rewards_that_the_data_has_not_are_refused_before_the_model_is_read(
    tiny_data, tmp_path, capsys
):
    three = replace(tiny_data, labels=np.arange(len(tiny_data)) % 3, label_names=("a", "b", "c"))
    arguments = audit_of(tmp_path / "no model is here", three, tmp_path)
    arguments += ["--label-names", "a", "b", "c", "--rewards", "sparsity,entropy"]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "'entropy' is defined for two classes" in " ".join(told.split())
    assert not (tmp_path / "out").exists()


def test_without_a_choice_the_rewards_that_the_data_has_are_judged(tiny_folder, tiny_data, caplog):
    three = replace(tiny_data, labels=np.arange(len(tiny_data)) % 3, label_names=("a", "b", "c"))
    loaded = load_classifier(tiny_folder)
    evaluator = MaskEvaluator(loaded.model, loaded.tokenizer, tiny_data, precision="fp32")
    texts = Suspect(loaded, three, three, evaluator)
    subject = Subject(evaluator, np.zeros((2, 4, 1)), ("magnitude",), texts=texts)
    kept = _defined(REWARDS, subject)
    assert set(kept) < set(REWARDS)
    assert {"inverted-trigger", "accuracy", "sparsity"} <= set(kept)
    for name in set(REWARDS) - set(kept):
        assert f"{name} is left out" in caplog.text


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--out", "clean.jsonl", "cannot be written"),
        ("--rewards", "sparsty", "did you mean 'sparsity'"),
        ("--rewards", "oracle", "leave oracle out, and give --triggered FILE or --attack NAME"),
        ("--paths", "magnitud", "did you mean 'magnitude'"),
        ("--paths", "magnitude,ft", "path of ft"),
    ],
)
def test_what_cannot_be_audited_is_refused_before_the_work(
    arguments, option, value, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("prune_env.cli.audit.TableOptions.load", lambda *_: pytest.fail("work"))
    where = arguments.index(option) + 1
    value = str(tmp_path / value) if option == "--out" else value
    assert main([*arguments[:where], value, *arguments[where + 1 :]]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_folder_that_another_process_audits_into_is_refused_before_the_work(
    arguments, audited, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("prune_env.cli.audit.TableOptions.load", lambda *_: pytest.fail("work"))
    held = shutil.copytree(audited, tmp_path / "out") / "masks.json"
    before = held.read_bytes()
    with locked(held):
        assert main(arguments) == 2
    assert "Another process audits into" in " ".join(capsys.readouterr().err.split())
    assert held.read_bytes() == before


def test_every_figure_of_the_table_is_whole_and_the_target_is_named(
    arguments, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "100")
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "\u2026" not in shown
    words = set(re.findall(r"[^\s\u2500-\u257f]+", shown.partition("sparsity")[0]))
    assert {"raw", "LFR,", "fixed", "lean", "cal.", "acc.", "heads", "usable", "masks"} <= words
    assert not re.search(r"\[[+-]\d\.\d?\s", shown)  # an end of an interval on two lines
    report = (tmp_path / "out/report.md").read_text()
    assert "clean validation sentences positive as are labelled so" in report.replace("\n", " ")
    assert "- target: positive" in report
