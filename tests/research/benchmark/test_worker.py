"""The body of a worker, in this process."""

import errno
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest

from prune_env.data.loading import load_data
from prune_env.research.attacks import AttackSources
from prune_env.research.benchmark import worker
from prune_env.research.benchmark.cell import Cell
from prune_env.research.benchmark.config import read_config
from prune_env.research.benchmark.outcome import failed_outcome
from prune_env.research.benchmark.store import Store
from prune_env.research.benchmark.workbench import Workbench
from tests.research.benchmark.support import write_grid


@pytest.fixture
def unwinding(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Answer SIGTERM as a worker does, and keep this process's files and threads."""
    monkeypatch.setattr(worker, "_become_a_worker", lambda task, number: None)
    monkeypatch.setattr(worker, "_told_to_end", [])
    before = signal.signal(signal.SIGTERM, worker.unwind)
    yield
    signal.signal(signal.SIGTERM, before)


def task_in(folder: Path) -> worker.Task:
    """Return what a worker does for a tiny grid in a folder."""
    config = read_config(write_grid(folder, ["gradient"]))
    return worker.Task(
        folder=folder / "run",
        cells=tuple(config.cells()),
        clean=load_data(config.data),
        identity={},
        sources=AttackSources(),
        cache=folder / "cache",
        threads=1,
        plugins=(),
    )


@pytest.mark.usefixtures("unwinding")
def test_what_stops_a_cell_is_no_result_though_a_library_makes_an_error_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_cell(bench, cell, keep):
        try:
            signal.raise_signal(signal.SIGTERM)
        except SystemExit:  # as torch does: "could not determine the shape of object type ..."
            return failed_outcome(cell, "ValueError")
        raise AssertionError

    monkeypatch.setattr(worker, "run_cell", run_cell)
    with pytest.raises(SystemExit) as end:
        worker.work(task_in(tmp_path), 0, worker.Current(get_context()))
    assert end.value.code == 128 + signal.SIGTERM
    assert not list((tmp_path / "run").rglob("*.json"))


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fill_the_bench(patch: pytest.MonkeyPatch) -> None:
    def full(self: Workbench, cell: Cell) -> None:
        raise RuntimeError("Error while serializing: No space left on device (os error 28)")

    patch.setattr(Workbench, "run", full)


def fill_the_store(patch: pytest.MonkeyPatch) -> None:
    def full(self: Store, *arguments: object) -> None:
        raise FULL

    patch.setattr(worker, "run_cell", lambda bench, cell, keep: failed_outcome(cell, "x"))
    patch.setattr(Store, "write", full)


@pytest.mark.usefixtures("unwinding")
@pytest.mark.parametrize("fill", [fill_the_bench, fill_the_store])
def test_a_full_disk_ends_the_worker_and_is_no_failure_of_the_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fill: Callable[[pytest.MonkeyPatch], None]
) -> None:
    fill(monkeypatch)
    current = worker.Current(get_context())
    with pytest.raises(SystemExit) as end:
        worker.work(task_in(tmp_path), 0, current)
    assert end.value.code == 1
    assert "No space left on device" in current.no_room
    assert not list((tmp_path / "run").rglob("*.json"))
