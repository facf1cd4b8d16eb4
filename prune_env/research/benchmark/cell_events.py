"""Events of cells: what a benchmark tells of them, for whoever watches it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from prune_env.research.benchmark.cell import Cell
from prune_env.research.benchmark.store import Store
from prune_env.utils.event_kinds import CellChanged, CellsPlanned
from prune_env.utils.events import emit


class CellNews:
    """Tells of each cell once when it is begun and once when it has a result.

    Args:
        cells: All cells by their address, in order.
        store: Their results; what it holds already is told at once.
    """

    def __init__(self, cells: Mapping[str, Cell], store: Store) -> None:
        self._store = store
        self._begun: set[str] = set()
        emit(CellsPlanned([[key, str(cell)] for key, cell in cells.items()]))
        for key in filter(store.has, cells):
            self.finished(key)

    def running(self, keys: Iterable[str]) -> None:
        """Tell which of these cells were begun since the last call."""
        for key in set(keys) - self._begun:
            self._begun.add(key)
            if not self._store.has(key):
                emit(CellChanged(key, "running"))

    def finished(self, key: str) -> None:
        """Tell the result of a cell."""
        record = self._store.read(key)
        if record.row is None:
            emit(CellChanged(key, "failed", error=record.error))
        else:
            emit(CellChanged(key, "done", row=asdict(record.row)))
