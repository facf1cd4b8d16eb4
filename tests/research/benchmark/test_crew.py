"""The worker processes of a benchmark, as those who watch them see them."""

from pathlib import Path
from typing import Any

from prune_env.research.benchmark.crew import Crew
from prune_env.research.benchmark.store import Store

KEY = "0123456789abcdef"


class Ending:
    """What a worker says of a cell that ends just after it was asked for the first time."""

    def __init__(self) -> None:
        self._answers = [KEY, "", ""]

    @property
    def key(self) -> str:
        """Key of the cell; empty once it has ended."""
        return self._answers.pop(0)


def test_a_cell_that_ends_while_it_is_asked_for_has_its_address(tmp_path: Path) -> None:
    cells: dict[str, Any] = {KEY: "cell"}
    task: Any = None
    crew = Crew(task, cells, Store(tmp_path), workers=1, limit_s=1.0)
    worker: Any = (None, Ending())
    crew._members[0] = worker
    assert [crew.running, crew.running] == [[KEY], []]
