"""What a benchmark says before and after its cells, which are not run here."""

import errno
import logging
import os
from pathlib import Path

import pytest

from prune_env.data.loading import load_data
from prune_env.env.policy import POLICIES
from prune_env.env.rewards import REWARDS
from prune_env.errors import SettingsError
from prune_env.research.benchmark import runner
from prune_env.research.benchmark.addresses import mask_file
from prune_env.research.benchmark.config import read_config
from prune_env.research.benchmark.outcome import failed_outcome
from prune_env.research.benchmark.plan import PLAN
from prune_env.utils.registry import Entry
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


OF_OTHERS = """
from typing import ClassVar
from prune_env.baselines.reward_greedy import RewardGreedy
from prune_env.env.rewards.reward import Sparsity

class Mine(RewardGreedy):
    "Of release {release}."

class Paid(Sparsity):
    name: ClassVar[str] = "paid"
"""


def test_results_of_code_of_others_that_was_changed_are_not_taken_for_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    ran: list[list[str]] = []

    def fail(task, cells, store, settings, on_cell):
        new = [key for key in cells if not store.has(key)]
        for key in new:
            store.write(key, failed_outcome(cells[key], "Broken: no luck").value)
        assert all(cell.key(task.identity) == key for key, cell in cells.items())
        files = {mask_file(cell, task.identity) for cell in cells.values()}
        ran.append([str(cells[key]).removeprefix("rare-word, seed 0, ") for key in new])
        assert len(files) == len(cells)
        masks.append(files)

    masks: list[set[str]] = []
    monkeypatch.setattr(runner, "_run", fail)
    for release in (1, 2):
        (tmp_path / f"of_others_{release}.py").write_text(OF_OTHERS.format(release=release))
    path = write_grid(tmp_path, ["gradient", "mine", "reward-greedy"])
    path.write_text(path.read_text() + 'rewards = ["paid"]\n')
    config = read_config(path)
    clean = load_data(config.data)

    def play(policies: int, rewards: int) -> None:
        for table, name, module in ((POLICIES, "mine", policies), (REWARDS, "paid", rewards)):
            target = f"of_others_{module}:{'Mine' if name == 'mine' else 'Paid'}"
            monkeypatch.setitem(table._entries, name, Entry(name, "", target))
        runner.run_benchmark(config, clean, tmp_path / "run")

    play(1, 1)
    play(1, 1)
    play(2, 1)
    play(2, 2)
    mine, greedy = (f"{name} (paid), direct, tau 0.4" for name in ("mine", "reward-greedy"))
    assert ran[1:] == [[], [mine], [mine, greedy]]
    assert [len(masks[at + 1] - masks[at]) for at in range(3)] == [0, 1, 2]


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("form", [[], ["--json"], ["--json-lines"]])
def test_a_grid_of_which_nothing_is_done_ends_with_status_2(
    tmp_path: Path, form: list[str]
) -> None:
    grid = write_grid(tmp_path, ["gradient"])
    assert run("benchmark", grid, "--out", tmp_path / "run", *form) == 2


def test_a_full_disk_is_told_with_its_folder_and_what_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def full(task, cells, store, settings, on_cell):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(runner, "_run", full)
    grid, out = write_grid(tmp_path, ["gradient"]), tmp_path / "run"
    assert run("benchmark", grid, "--out", out) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"{out} cannot be read or written: No space left on device." in told
    assert "Cells that are done stay; the same command goes on." in told


def test_a_result_that_leads_nowhere_is_refused_and_not_run_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    ran: list[str] = []

    def fail(task, cells, store, settings, on_cell):
        for key in [key for key in cells if not store.has(key)]:
            ran.append(key)
            store.write(key, failed_outcome(cells[key], "Broken: no luck").value)

    monkeypatch.setattr(runner, "_run", fail)
    grid, out = write_grid(tmp_path, ["gradient"]), tmp_path / "run"
    run("benchmark", grid, "--out", out)
    result = out / "cells" / f"{ran[0]}.json"
    result.unlink()
    result.symlink_to("moved-away.json")
    count = len(ran)
    assert run("benchmark", grid, "--out", out) == 2
    assert len(ran) == count
    assert str(result) in "".join(capsys.readouterr().err.split())


def test_failures_that_another_run_tries_again_do_not_end_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(task, cells, store, settings, on_cell):
        for key, cell in cells.items():
            store.write(key, failed_outcome(cell, "Broken: no luck").value)
        store.discard(next(iter(cells)))  # as `--retry-failed` does at its start

    monkeypatch.setattr(runner, "_run", fail)
    config = read_config(write_grid(tmp_path, ["gradient"]))
    counts = runner.run_benchmark(config, load_data(config.data), tmp_path / "run")
    assert counts == {"done": 0, "failed": len(config.cells()) - 1}
