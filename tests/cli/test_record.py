"""`prune-env record` on a tiny model: file, surrogate and Minari data set from one command."""

import json
from pathlib import Path

import pytest

from prune_env.data.dataset import write_jsonl
from tests.cli.support import run
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


def test_a_data_set_needs_a_surrogate(
    arguments: list[object], capsys: pytest.CaptureFixture
) -> None:
    where = arguments.index("--surrogate")
    assert run(*arguments[:where], *arguments[where + 2 :], "--minari", "tiny-v0") == 2
    assert "--surrogate FILE beside --minari" in capsys.readouterr().err
