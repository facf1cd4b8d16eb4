"""A run folder of `prune-env benchmark`, read: every file once, into frozen dataclasses."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from prune_env.errors import StateError
from prune_env.research.benchmark.cell import Cell
from prune_env.research.benchmark.config import BenchmarkConfig
from prune_env.research.benchmark.plan import PLAN, GridPlan
from prune_env.research.benchmark.record import CellRecord
from prune_env.research.benchmark.rows import ResultRow
from prune_env.research.benchmark.store import Store
from prune_env.research.benchmark.summary import CellOutcome, Line, in_lines
from prune_env.research.benchmark.table_files import stems
from prune_env.utils.files import read_json
from prune_env.utils.plain import from_plain


@dataclass(frozen=True, eq=False)
class RunResults:
    """A run folder, read.

    Attributes:
        folder: The run folder.
        plan: What was to be run.
        cells: What came of each planned cell, in order.
    """

    folder: Path
    plan: GridPlan
    cells: tuple[CellOutcome, ...]

    @property
    def config(self) -> BenchmarkConfig:
        """The grid."""
        return self.plan.config

    @property
    def attacks(self) -> list[str]:
        """Names of the attacks, in order."""
        return list(dict.fromkeys(each.attack for each in self.cells))

    @property
    def stems(self) -> dict[str, str]:
        """What the names of each attack's files begin with."""
        return stems(self.attacks)

    @property
    def usual_tau(self) -> float | None:
        """The threshold of the main tables: that of the grid, or the only one of its blocks.

        What prunes nothing has none.
        """
        own = self.config.search.tau
        used = {each.cell.search.tau for each in self.cells if each.cell.prunes}
        return used.pop() if len(used) == 1 else own

    @property
    def done(self) -> list[CellOutcome]:
        """Cells that have figures."""
        return [each for each in self.cells if each.row is not None]

    @property
    def failed(self) -> list[CellOutcome]:
        """Cells that failed."""
        return [each for each in self.cells if each.failed]

    @property
    def waiting(self) -> list[CellOutcome]:
        """Cells that were not run yet."""
        return [each for each in self.cells if each.record is None]

    def lines(self, keep: Callable[[CellOutcome], bool] = lambda cell: True) -> list[Line]:
        """Return the lines of the cells that were tried, in the order of the grid.

        Args:
            keep: Which cells count.
        """
        return in_lines([each for each in self.cells if each.record is not None and keep(each)])


def read_results(folder: Path) -> RunResults:
    """Read a run folder of `prune-env benchmark`; the run may still be going on.

    Raises:
        StateError: It is no such folder, or a file is damaged.
        SettingsError: A file has keys or values of another kind.
    """
    path = folder / PLAN
    if not path.is_file():
        raise StateError(
            f"{folder} is no run folder of `prune-env benchmark`",
            expected=f"a folder that holds {PLAN}",
            remedy="name the --out of a benchmark",
        )
    content = read_json(path)
    if not isinstance(content, dict) or not {"config", "cells"} <= set(content):
        raise StateError(
            f"{path} is no plan of a benchmark",
            remedy="run `prune-env benchmark` with this folder again",
        )
    plan, store = from_plain(GridPlan, content, str(path)), Store(folder)
    records = {
        each.cell: store.read(each.key) if store.has(each.key) else None for each in plan.cells
    }

    cells = tuple(
        CellOutcome(each.key, each.name, each.cell, records[each.cell], _twin(each.cell, records))
        for each in plan.cells
    )
    return RunResults(folder, plan, cells)


def _twin(cell: Cell, records: dict[Cell, CellRecord | None]) -> ResultRow | None:
    """Return the figures of the same defence on the benign model; without one, of that model."""
    if cell.target == "benign" or cell.policy == "benign":
        return None
    if cell.policy == "backdoored":
        twin = records.get(replace(cell, policy="benign"))
    else:
        twin = records.get(replace(cell, target="benign"))
    return None if twin is None else twin.row
