"""The worker processes of a benchmark on one machine: started, watched, and ended."""

import logging
import signal
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess

from prune_env.errors import StateError
from prune_env.research.benchmark.cell import Cell
from prune_env.research.benchmark.outcome import failed_outcome
from prune_env.research.benchmark.store import Store
from prune_env.research.benchmark.worker import Current, Task, work

log = logging.getLogger(__name__)
GRACE_S = 20.0
"""Time that a worker has to unwind before it is killed."""


class Crew:
    """The worker processes; one that dies is replaced, and its cell is marked failed.

    Args:
        task: What every worker is given.
        cells: The cells, by the address of their results.
        store: Where the results appear.
        workers: Processes.
        limit_s: A cell that takes longer is stopped and marked failed.
    """

    def __init__(
        self, task: Task, cells: dict[str, Cell], store: Store, *, workers: int, limit_s: float
    ) -> None:
        self._task = task
        self._cells = cells
        self._store = store
        self._workers = workers
        self._limit_s = limit_s
        self._context = _context()
        self._members: dict[int, tuple[BaseProcess, Current]] = {}

    def keep_going(self, wanted: int) -> None:
        """Start missing workers, as many as there are cells at most; look after the others."""
        for number in range(min(self._workers, wanted)):
            if number not in self._members:
                self._start(number)
        for number, (process, current) in list(self._members.items()):
            if not process.is_alive():
                self._members.pop(number)
                if process.exitcode:
                    self._blame(current, f"the worker ended with status {process.exitcode}")
            elif current.seconds > self._limit_s:
                self._members.pop(number)
                _end(process, grace_s=0)
                self._blame(current, f"took longer than {self._limit_s:g} s")

    @property
    def running(self) -> list[str]:
        """Addresses of the cells that are being run."""
        keys = [current.key for _, current in self._members.values()]  # once: a cell may end
        return [key for key in keys if key in self._cells]

    def stop(self) -> None:
        """End all workers."""
        for process, _ in self._members.values():
            process.terminate()
        for process, _ in self._members.values():
            _end(process, grace_s=GRACE_S)
        self._members.clear()

    def _start(self, number: int) -> None:
        current = Current(self._context)
        process = self._context.Process(  # type: ignore[attr-defined]
            target=work, args=(self._task, number, current), name=f"worker-{number}"
        )
        process.start()
        self._members[number] = process, current

    def _blame(self, current: Current, reason: str) -> None:
        """Mark the cell that a lost worker was running as failed.

        Raises:
            StateError: It was lost before it ran any, as the next one would be; or a disk is full.
        """
        if current.no_room:  # no fault of the cell, which the same command then runs
            raise StateError(
                "A disk is full on which cells are run",
                expected=f"room in {self._task.folder} and in the cache {self._task.cache}",
                actual=current.no_room,
                remedy="make room; cells that are done stay, and the same command goes on",
            )
        if not current.key:
            if not current.begun:
                raise StateError(
                    f"A worker could not work: {reason}",
                    remedy=f"read the log in {self._task.folder / 'logs'}",
                )
            log.warning("Between two cells %s", reason)  # the next worker goes on
            return
        cell = self._cells[current.key]
        if not self._store.has(current.key):
            log.warning("%s: %s", cell, reason)
            self._store.write(current.key, failed_outcome(cell, reason).value)


def _context() -> BaseContext:
    """Return how workers are started: from a server that has the imports, where there is one.

    A server forks before any thread is started, so a worker that must be replaced is there at once.
    """
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([work.__module__])
    # Ctrl-C, which the parent answers, would end the server while it imports, with a traceback.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def _end(process: BaseProcess, grace_s: float) -> None:
    process.terminate()
    process.join(grace_s)
    if process.is_alive():
        process.kill()
        process.join()
