"""Who chooses the heads of `purify`, and what heals: a policy, a given mask, or `auto`."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from prune_env.models import load_mask, save_mask
from prune_env.purification import HEALINGS
from prune_env.purification.refit import Refit
from prune_env.purification.unlearn import Unlearn
from prune_env.utils.files import sha256_of
from tests.cli.support import FAST, TUNING, run


@pytest.mark.parametrize("protocol", ["direct", "refinetune"])
def test_a_published_mask_is_applied_as_it_is(
    protocol: str, encoder: Path, clean: Path, tmp_path: Path
) -> None:
    published = tmp_path / "pure.json"
    published.write_text('{"0": [1, 3], "1": [0]}')
    expected = np.array([[True, False, True, False], [False, True, True, True]])
    out, again = tmp_path / "out", tmp_path / "again"
    arguments = ["--data", clean, "--protocol", protocol, *FAST]
    assert run("purify", encoder, *arguments, "--mask", published, "--out", out) == 0
    assert np.array_equal(load_mask(out / "mask.json"), expected)
    report = json.loads((out / "report.json").read_text())
    assert (report["run"]["policy"], report["result"]["evaluations"]) == ("given", 1)
    assert report["run"]["mask"] == {"file": published.name, "sha256": sha256_of(published)}
    assert "| policy | given |" in (out / "README.md").read_text()

    assert run("purify", encoder, *arguments, "--mask", out / "mask.json", "--out", again) == 0
    weights = [(folder / "model.safetensors").read_bytes() for folder in (out, again)]
    assert weights[0] == weights[1]


BAD_MASKS = {
    "missing": (None, "No file"),
    "not JSON": ("{", "not valid JSON"),
    "no mask": ('{"layers": 3}', "not a mask"),
    "another model's": ('{"5": [0]}', "layers 0 to 1"),
}


@pytest.mark.parametrize("case", BAD_MASKS)
def test_a_bad_mask_is_refused(
    case: str, tiny_folder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    content, hint = BAD_MASKS[case]
    path = tmp_path / "mask.json"
    if content is not None:
        path.write_text(content)
    arguments = ["--data", clean, "--out", tmp_path / "out", "--mask", path]
    assert run("purify", tiny_folder, *arguments, *FAST) == 2
    assert hint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_given_mask_below_tau_is_used_and_warned_of(
    tiny_folder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "mask.json"
    path.write_text('{"0": [0, 1, 2, 3]}')
    arguments = ["--data", clean, "--out", tmp_path / "out", "--mask", path, "--tau", "1"]
    assert run("purify", tiny_folder, *arguments) == 0
    assert "below tau 1.000" in " ".join(capsys.readouterr().err.split())
    assert not load_mask(tmp_path / "out" / "mask.json")[0].any()


def test_a_mask_of_another_shape_is_refused_before_any_training(
    encoder: Path,
    clean: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_mask(tmp_path / "mask.json", np.ones((6, 12)))
    module = importlib.import_module("prune_env.purification.prepare")
    monkeypatch.setattr(module, "fine_tune_suspicious", None)
    arguments = ["--data", clean, "--out", tmp_path / "out", "--mask", tmp_path / "mask.json"]
    assert run("purify", encoder, *arguments) == 2
    assert "(2, 4)" in capsys.readouterr().err


def test_by_default_layers_are_refitted_and_inverted_triggers_unlearned(
    tiny_folder: Path,
    clean: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = (Refit(max_drop_unseen=1.0), Unlearn(share=0.35))  # a random model may lose or gain
    monkeypatch.setitem(HEALINGS, "refit-unlearn", steps)
    out = tmp_path / "out"
    arguments = ["--data", clean, "--out", out, "--guard", "accuracy", *TUNING]
    assert run("purify", tiny_folder, *arguments) == 0
    told = " ".join(capsys.readouterr().out.split())
    report = json.loads((out / "report.json").read_text())
    assert (report["run"]["healing"], report["run"]["policy"]) == ("refit-unlearn", "ft")
    assert report["result"]["heads_pruned"] == 0
    first = report["inverted_triggers"][0]
    label = max(first, key=lambda name: first[name]["flipped"])
    share = " and ".join(f"{100 * each['kept']:.0f} %" for each in report["refits"])
    trigger = (first[label]["words"] or first[label]["triggers"])[0]
    replaced = report["refits"][0]["strangers"]
    assert replaced > 0
    assert (
        f"refit-unlearn: {replaced:,} unseen tokens replaced by their neighbours; "
        f"{share} of the squared weights kept; triggers such as '{trigger}'"
    ) in told


def test_the_papers_protocol_is_not_healed(encoder: Path, clean: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--data", clean, "--out", out, "--protocol", "refinetune", *TUNING]
    assert run("purify", encoder, *arguments) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["inverted_triggers"] == []
    assert report["run"]["policy"] == "gradient"


@pytest.mark.parametrize(
    ("options", "reward"),
    [([], "inverted-trigger"), (["--reward", "accuracy"], "accuracy")],
)
def test_without_healing_the_default_mask_withstands_inverted_triggers(
    tiny_folder: Path, clean: Path, tmp_path: Path, options: list[str], reward: str
) -> None:
    out = tmp_path / "out"
    assert run("purify", tiny_folder, "--data", clean, "--out", out, *FAST, *options) == 0
    told = json.loads((out / "report.json").read_text())["run"]
    assert (told["policy"], told["search"]["reward"]) == ("reward-greedy", reward)


def test_whoever_names_a_policy_or_a_mask_gets_that_alone(
    encoder: Path, clean: Path, tmp_path: Path
) -> None:
    mask = tmp_path / "pure.json"
    mask.write_text('{"0": [1]}')
    for name, choice in (("policy", "gradient"), ("mask", mask)):
        out = tmp_path / name
        asked = ["--data", clean, "--out", out, f"--{name}", choice, *TUNING]
        assert run("purify", encoder, *asked) == 0
        report = json.loads((out / "report.json").read_text())
        assert (report["run"]["healing"], report["refits"]) == ("none", [])
        assert report["run"]["search"]["reward"] == "sparsity"


def test_a_mask_and_a_policy_exclude_each_other(
    encoder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["--data", clean, "--out", tmp_path / "out", "--policy", "fth"]
    assert run("purify", encoder, *arguments, "--mask", tmp_path / "mask.json") == 2
    assert "leave one of them out" in capsys.readouterr().err


@pytest.mark.parametrize("policy", ["fth", "meft", "gradient-l1-l2"])
def test_a_policy_that_fine_tunes_refuses_a_ready_classifier(
    policy: str, tiny_folder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    assert run("purify", tiny_folder, "--data", clean, "--out", out, "--policy", policy, *FAST) == 2
    assert "head of its own" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_what_would_do_nothing_is_refused(
    tiny_folder: Path, encoder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["--data", clean, "--policy", "ft", *FAST]
    assert run("purify", tiny_folder, "--out", tmp_path / "out", *arguments) == 2
    assert "Nothing would be done" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
    assert run("purify", encoder, "--out", tmp_path / "encoder", *arguments) == 0
    again = [*arguments, "--protocol", "refinetune", "--out", tmp_path / "again"]
    assert run("purify", tiny_folder, *again) == 0


def test_a_mask_that_keeps_every_head_is_refused_where_nothing_else_is_done(
    tiny_folder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "mask.json").write_text("{}")
    arguments = ["--data", clean, "--mask", tmp_path / "mask.json", *FAST]
    assert run("purify", tiny_folder, "--out", tmp_path / "out", *arguments) == 2
    assert "Nothing would be done" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
    healed = [*arguments, "--healing", "head", "--out", tmp_path / "healed"]
    assert run("purify", tiny_folder, *healed) == 0


def test_a_model_that_no_head_could_be_taken_from_is_called_unchanged(
    tiny_folder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["--data", clean, "--policy", "gradient", "--tau", "1", *FAST]
    assert run("purify", tiny_folder, "--out", tmp_path / "out", *arguments) == 0
    assert "the model as it came" in " ".join(capsys.readouterr().err.split())
    assert "| changed | nothing:" in (tmp_path / "out" / "README.md").read_text()


def test_a_purified_model_below_tau_is_warned_of(
    tiny_folder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    healed = ["--healing", "full", "--policy", "magnitude", "--tau", "1", *TUNING]
    assert run("purify", tiny_folder, "--data", clean, "--out", tmp_path / "out", *healed) == 0
    told = capsys.readouterr()
    report = json.loads((tmp_path / "out" / "report.json").read_text())["result"]
    assert report["validation_accuracy_purified"] < 1
    assert not report["keeps_tau"]
    assert "below tau 1.000: lower the learning rate" in " ".join(told.err.split())
    assert "100.0 % validation accuracy, not kept" in " ".join(told.out.split())


@pytest.mark.parametrize("guard", ["accuracy", "balanced"])
def test_every_figure_of_tau_is_told_in_its_own_unit(
    encoder: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture, guard: str
) -> None:
    arguments = ["--data", clean, "--out", tmp_path / "out", "--policy", "ft"]
    assert run("purify", encoder, *arguments, *FAST, "--guard", guard) == 0
    told = " ".join(capsys.readouterr().out.split())
    report = json.loads((tmp_path / "out" / "report.json").read_text())["tau"]
    change = report["change"]
    assert (change["lost"], change["won"], report["judgement"]) == (0, 0, "cannot be told")
    if change["unpruned"] == 0:  # a constant answer, which is half right
        assert guard == "balanced"
        what = "tau none, for balanced validation accuracy counted as 0: nothing was guarded"
        assert f"{what} ({100 * report['value']:.1f} % on 16 rows now)" in told
    else:
        moved = f"({100 * change['unpruned']:.1f} % unpruned, 0 rows lost and 0 won), which so few"
        assert f"on 16 rows {moved}" in told
        assert ("balanced validation accuracy, " in told) == (guard == "balanced")
    assert ("(by rows; tau counts by classes)" in told) == (guard == "balanced")
