"""`prune-env audit` from end to end, on a tiny model."""

import json

import pytest

from prune_env.cli import main
from prune_env.data.writers import write_jsonl


@pytest.fixture
def arguments(tiny_folder, tiny_data, tmp_path):
    write_jsonl(tmp_path / "clean.jsonl", tiny_data)
    write_jsonl(tmp_path / "triggered.jsonl", tiny_data.where(0))
    write_jsonl(tmp_path / "wrong.jsonl", tiny_data)
    return [
        "audit",
        *("--model", str(tiny_folder)),
        *("--data", str(tmp_path / "clean.jsonl")),
        *("--triggered", str(tmp_path / "triggered.jsonl")),
        *("--masks", "12"),
        *("--paths", "magnitude"),
        *("--rewards", "sparsity,flips-word-drop"),
        *("--out", str(tmp_path / "out")),
    ]


def test_it_prints_the_table_and_goes_on_with_further_rewards(arguments, tmp_path, capsys):
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "flips-word-drop" in shown
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "audit.json",
        "figures",
        "masks.json",
        "report.md",
    }
    before = json.loads((tmp_path / "out/masks.json").read_text())["columns"]
    more = [*arguments[:-3], "sparsity,accuracy", *arguments[-2:], "--json"]
    assert main(more) == 0
    value = json.loads(capsys.readouterr().out)
    assert {"sparsity", "accuracy"} < set(value)
    after = json.loads((tmp_path / "out/masks.json").read_text())["columns"]
    assert after == {**after, **before}
    assert set(after) - set(before) == {"reward accuracy"}


def test_texts_of_the_target_label_are_refused(arguments, tmp_path, capsys):
    wrong = [each.replace("triggered.jsonl", "wrong.jsonl") for each in arguments]
    assert main(wrong) == 2
    assert "target" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_hidden_lfr_must_be_known(arguments, capsys):
    without = arguments[:5] + arguments[7:]
    assert main(without) == 2
    assert "--triggered" in capsys.readouterr().err
