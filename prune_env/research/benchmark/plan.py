"""What a run folder says was planned: `benchmark.json`."""

from dataclasses import dataclass

from prune_env.research.benchmark.cell import Cell
from prune_env.research.benchmark.config import BenchmarkConfig

PLAN = "benchmark.json"


@dataclass(frozen=True)
class PlannedCell:
    """A cell of the plan.

    Attributes:
        key: Address of its result.
        name: In words.
        cell: The cell itself.
    """

    key: str
    name: str
    cell: Cell


@dataclass(frozen=True)
class GridPlan:
    """The content of `benchmark.json`.

    Attributes:
        config: The grid.
        identity: SHA-256 of data, model and files of attacks.
        cells: In order.
    """

    config: BenchmarkConfig
    identity: dict[str, str]
    cells: tuple[PlannedCell, ...]
