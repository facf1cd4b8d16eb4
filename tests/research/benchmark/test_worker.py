"""The body of a worker, in this process."""

import signal
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest

from prune_env.data.loading import load_data
from prune_env.research.attacks import AttackSources
from prune_env.research.benchmark import worker
from prune_env.research.benchmark.config import read_config
from prune_env.research.benchmark.outcome import failed_outcome
from tests.research.benchmark.support import write_grid


@pytest.fixture
def unwinding(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Answer SIGTERM as a worker does, and keep this process's files and threads."""
    monkeypatch.setattr(worker, "_become_a_worker", lambda task, number: None)
    monkeypatch.setattr(worker, "_told_to_end", [])
    before = signal.signal(signal.SIGTERM, worker.unwind)
    yield
    signal.signal(signal.SIGTERM, before)


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
    config = read_config(write_grid(tmp_path, ["gradient"]))
    task = worker.Task(
        folder=tmp_path / "run",
        cells=config.cells(),
        clean=load_data(config.data),
        identity={},
        sources=AttackSources(),
        cache=tmp_path / "cache",
        threads=1,
        plugins=(),
    )
    with pytest.raises(SystemExit) as end:
        worker.work(task, 0, worker.Current(get_context()))
    assert end.value.code == 128 + signal.SIGTERM
    assert not list((tmp_path / "run").rglob("*.json"))
