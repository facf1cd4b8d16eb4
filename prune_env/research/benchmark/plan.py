"""What a run folder says was planned: `benchmark.json`."""

from dataclasses import dataclass

from prune_env.data.dataset import Splits
from prune_env.research.benchmark.cell import Cell
from prune_env.research.benchmark.config import BenchmarkConfig
from prune_env.utils.plain import later

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
class RowCounts:
    """Rows of the parts of the data.

    Attributes:
        train: To train on.
        validation: On which masks are judged.
        test: On which ACC is measured.
    """

    train: int
    validation: int
    test: int

    @classmethod
    def of(cls, data: Splits) -> "RowCounts":
        """Return how many rows each part has."""
        return cls(len(data.train), len(data.validation), len(data.test))


@dataclass(frozen=True)
class GridPlan:
    """The content of `benchmark.json`.

    Attributes:
        config: The grid.
        identity: SHA-256 of data, model and files of attacks.
        cells: In order.
        rows: Of the data; None where an earlier release planned.
    """

    config: BenchmarkConfig
    identity: dict[str, str]
    cells: tuple[PlannedCell, ...]
    rows: RowCounts | None = later(None)  # noqa: RUF009 - immutable
