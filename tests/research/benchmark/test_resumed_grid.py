"""What a benchmark says before and after its cells, which are not run here."""

import logging
from pathlib import Path

import pytest

from prune_env.data.loading import load_data
from prune_env.errors import SettingsError
from prune_env.research.benchmark import runner
from prune_env.research.benchmark.config import read_config
from prune_env.research.benchmark.outcome import failed_outcome
from prune_env.research.benchmark.plan import PLAN
from tests.cli.support import run
from tests.research.benchmark.support import write_grid


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every cell fail at once."""

    def fail(task, cells, store, settings, on_cell):
        for key, cell in cells.items():
            store.write(key, failed_outcome(cell, "Broken: no luck").value)

    monkeypatch.setattr(runner, "_run", fail)


def test_a_cache_that_cannot_be_written_ends_the_run_and_fails_no_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNE_ENV_CACHE", "/proc/nope")
    config = read_config(write_grid(tmp_path, ["gradient"]))
    with pytest.raises(SettingsError, match="PRUNE_ENV_CACHE"):
        runner.run_benchmark(config, load_data(config.data), tmp_path / "run")
    assert not (tmp_path / "run" / "cells").exists()


@pytest.mark.usefixtures("failing")
def test_results_that_leave_the_report_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = read_config(write_grid(tmp_path, ["gradient", "random"]))
    clean = load_data(first.data)
    with caplog.at_level(logging.WARNING):
        runner.run_benchmark(first, clean, tmp_path / "run")
        runner.run_benchmark(first, clean, tmp_path / "run")
        assert not caplog.records
        other = read_config(write_grid(tmp_path, ["gradient", "magnitude"]))
        runner.run_benchmark(other, clean, tmp_path / "run")
    assert f"in {tmp_path / 'run'}: 1. They stay" in caplog.text
    assert (tmp_path / "run" / PLAN).exists()


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("form", [[], ["--json"], ["--json-lines"]])
def test_a_grid_of_which_nothing_is_done_ends_with_status_2(
    tmp_path: Path, form: list[str]
) -> None:
    grid = write_grid(tmp_path, ["gradient"])
    assert run("benchmark", grid, "--out", tmp_path / "run", *form) == 2
