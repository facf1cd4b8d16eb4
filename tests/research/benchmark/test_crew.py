"""The worker processes of a benchmark, as those who watch them see them."""

import time
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from prune_env.errors import StateError
from prune_env.research.benchmark.crew import Crew
from prune_env.research.benchmark.store import Store
from prune_env.research.benchmark.worker import Current

KEY = "0123456789abcdef"


class Ending:
    """What a worker says of a cell that ends just after it was asked for the first time."""

    def __init__(self) -> None:
        self._answers = [KEY, "", ""]

    @property
    def key(self) -> str:
        """Key of the cell; empty once it has ended."""
        return self._answers.pop(0)


class Lost:
    """A worker that was killed."""

    exitcode = -9

    def is_alive(self) -> bool:
        """Whether it runs."""
        return False


@pytest.mark.parametrize("begun", [True, False])
def test_a_worker_lost_between_two_cells_is_replaced(tmp_path: Path, begun: bool) -> None:
    context = get_context("spawn")
    task: Any = SimpleNamespace(folder=tmp_path)
    crew = Crew(task, {}, Store(tmp_path), workers=1, limit_s=1.0)
    current, worker = Current(context), cast(Any, Lost())
    if begun:
        current.begin(KEY)
        current.end()
    crew._members[0] = worker, current
    expected = nullcontext() if begun else pytest.raises(StateError, match="ended with status -9")
    with expected:
        crew.keep_going(1)
    assert not crew._members  # the next look starts another


def test_a_cell_that_ends_while_it_is_asked_for_has_its_address(tmp_path: Path) -> None:
    cells: dict[str, Any] = {KEY: "cell"}
    task: Any = None
    crew = Crew(task, cells, Store(tmp_path), workers=1, limit_s=1.0)
    worker: Any = (None, Ending())
    crew._members[0] = worker
    assert [crew.running, crew.running] == [[KEY], []]


def test_a_full_disk_ends_the_run_and_fails_no_cell(tmp_path: Path) -> None:
    task: Any = SimpleNamespace(folder=tmp_path / "run", cache=tmp_path / "cache")
    cells: dict[str, Any] = {KEY: "cell"}
    store = Store(tmp_path / "run")
    crew = Crew(task, cells, store, workers=1, limit_s=1.0)
    current = Current(get_context("spawn"))
    current.begin(KEY)
    current.no_room = "OSError: [Errno 28] No space left on device: 'cache/models'"
    crew._members[0] = cast(Any, Lost()), current
    with pytest.raises(StateError, match=r"cache/models.*the same command goes on"):
        crew.keep_going(1)
    assert not store.has(KEY)


def test_a_clock_that_is_set_stops_no_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    current = Current(get_context("spawn"))
    current.begin(KEY)
    monkeypatch.setattr(time, "time", lambda: 1e12)
    assert 0 <= current.seconds < 60
