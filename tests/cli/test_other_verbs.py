import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prune_env.cli import main
from prune_env.cli.options import show
from prune_env.data.dataset import TextDataset, write_jsonl
from prune_env.data.readers import read_table
from prune_env.research.benchmark.rows import ResultRow, table


def test_list_names_everything(capsys: pytest.CaptureFixture) -> None:
    assert main(["list", "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)
    assert {"gradient", "epsilon-greedy"} <= set(tables["policies"])
    assert "prune_env/HeadPruning-v0" in tables["environments"]
    assert "hiddenkiller" in tables["attacks"]
    assert all(help_line for table in tables.values() for help_line in table.values())


def test_demo_writes_the_promised_rows(
    encoder: Path,
    data_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    arguments = ["demo", "--model", encoder, "--data", data_folder, "--attack", "rare-word"]
    options = [
        "--epochs",
        "1",
        "--attacker-epochs",
        "1",
        "--precision",
        "fp32",
        "--budget",
        "12",
    ]
    runs = []
    for name, rows_wanted in (("first", ["--full"]), ("again", [])):
        out = ["--out", tmp_path / name, "--importance-sentences", "16", "--json"]
        command = (*arguments, *options, *rows_wanted, *out)
        assert main([str(argument) for argument in command]) == 0
        capsys.readouterr()
        runs.append(json.loads((tmp_path / name / "result.json").read_text()))
    assert set(runs[0]) == {"run", "rows", "meta"}
    rows = [(row["policy"], row["protocol"]) for row in runs[0]["rows"]]
    assert [row["healing"] for row in runs[0]["rows"]] == [
        *["none"] * 7,
        "unlearn",
        "refit-unlearn",
    ]
    assert rows == [
        ("benign", "none"),
        ("backdoored", "none"),
        ("ft", "none"),
        ("gradient", "direct"),
        ("gradient", "refinetune"),
        ("epsilon-greedy", "direct"),
        ("epsilon-greedy", "refinetune"),
        ("ft", "direct"),
        ("ft", "direct"),
    ]
    for row in runs[0]["rows"]:
        assert row["floor"] == runs[0]["rows"][0]["lfr"]
        assert row["excess_lfr"] == pytest.approx(row["lfr"] - row["floor"])
    untimed = [[{**row, "seconds": 0} for row in run["rows"]] for run in runs]
    # Without --full, one protocol and one healing; each row is what it was.
    assert untimed[1] == [untimed[0][place] for place in (0, 1, 2, 3, 5, 8)]
    assert all(row["seconds"] > 0 for row in runs[0]["rows"])
    # The benign model came from the cache: another training would take another time.
    assert runs[1]["rows"][0]["seconds"] == runs[0]["rows"][0]["seconds"]


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom prune_env.cli import main\n"
        "try:\n    main(['purify', '--help'])\n"
        "except SystemExit:\n    pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
        == 0
    )


def test_write_jsonl_is_read_back(tmp_path: Path) -> None:
    data = TextDataset(('a "quoted" film', "ünïcode\ttab"), np.array([1, 0]))
    write_jsonl(tmp_path / "x.jsonl", data)
    again = read_table(tmp_path / "x.jsonl")
    assert (again.texts, again.labels.tolist()) == (data.texts, data.labels.tolist())


def test_list_fits_and_ends_in_no_blanks(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line == line.rstrip() and len(line) <= 80 for line in lines)
    assert {"ready-made", "observations"} <= set(lines)


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_of_the_demo_is_whole(
    width: int, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    share = {"acc": 79.5, "lfr": 100.0, "floor": 20.2, "excess_lfr": -12.5}
    calibrated = {"acc_calibrated": 79.5, "lfr_calibrated": 100.0, "excess_lfr_calibrated": -79.8}
    cost = {"heads_pruned": 12, "heads_total": 72, "evaluations": 60, "seconds": 1175.0}
    rows = [
        ResultRow(policy, protocol, "a", 0, **share, **calibrated, **cost, healing=healing)
        for policy, protocol, healing in (
            ("epsilon-greedy", "refinetune", "none"),
            ("ft", "direct", "refit-unlearn"),
        )
    ]
    show(False, {}, table(rows, "title", width))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    assert "…" not in out
    for word in ("epsilon-greedy", "refinetune", "refit-unlearn", "100.0", "-79.8", "1175 s"):
        assert word in out
