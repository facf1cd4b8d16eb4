"""The parent of the workers: starts them, watches them, and says what was done."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from prune_env.data.dataset import Splits
from prune_env.data.readers import read_table
from prune_env.errors import SettingsError, StateError
from prune_env.models import find_source, inspect_source
from prune_env.research.attacks.own_files import read_own_attack
from prune_env.research.attacks.sources import AttackSources
from prune_env.research.benchmark.cell import Cell
from prune_env.research.benchmark.config import BenchmarkConfig
from prune_env.research.benchmark.outcome import failed_outcome
from prune_env.research.benchmark.plan import PLAN, GridPlan, PlannedCell
from prune_env.research.benchmark.record import CellRecord
from prune_env.research.benchmark.store import Store
from prune_env.research.benchmark.told import CellNews
from prune_env.research.benchmark.worker import Current, Task, work
from prune_env.utils.cluster import load_ray
from prune_env.utils.events import recording
from prune_env.utils.files import cache_folder, write_json
from prune_env.utils.plain import to_plain
from prune_env.utils.progress import progress

log = logging.getLogger(__name__)
POLL_S = 0.2
GRACE_S = 20.0
"""Time that a worker has to unwind before it is killed."""

Report = Callable[[Cell, CellRecord], None]


@dataclass(frozen=True)
class RunSettings:
    """How a benchmark is run: which cells get done, not what they find.

    The number of threads alone may change the last digits of a training, and so the figures.

    Attributes:
        workers: Processes.
        threads: Threads of torch in each; None divides the cores among the workers.
        limit_s: A cell that takes longer is stopped and marked failed.
        retry_failed: Run failed cells of an earlier start again.
        plugins: Modules of further policies, imported by every worker.
        keep_models: Keep the model of every cell that is run, in `models/` of the run folder
            under the address of its result.
        store: Where backdoored, benign and fine-tuned models are kept for other machines too: a
            folder, or a URL that fsspec knows.
        ray: Address of a Ray cluster that runs the cells in place of processes of this machine;
            `local` starts one here. The grid says what each cell is given.
    """

    workers: int = 1
    threads: int | None = None
    limit_s: float = 4 * 3600
    retry_failed: bool = False
    plugins: tuple[str, ...] = ()
    keep_models: bool = False
    store: str | None = None
    ray: str | None = None

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: A value is out of range.
        """
        for name in ("workers", "threads", "limit_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingsError(f"{name} is out of range", expected="> 0", actual=self)
        if self.ray is not None and self.workers != 1:
            raise SettingsError(
                "On Ray the cluster tells how many cells run side by side",
                expected="workers or ray",
                actual=f"workers {self.workers}, ray {self.ray}",
                remedy="set num_cpus in [resources] of the grid",
            )


def run_benchmark(
    config: BenchmarkConfig,
    clean: Splits,
    folder: str | Path,
    settings: RunSettings | None = None,
    *,
    sources: AttackSources | None = None,
    on_cell: Report = lambda cell, record: None,
) -> dict[str, int]:
    """Run every cell that has no result yet; a run that was cut off goes on where it was.

    Args:
        config: The grid.
        clean: The data set that `config.data` names.
        folder: The run folder; several calls may share it, at once or one after the other.
        settings: Workers and limits.
        sources: Where the texts of attacks come from; the files that `config.attacks` names are
            read if they are not among them.
        on_cell: Called with each cell and its result as it comes.

    Returns:
        Number of cells `done` and `failed`, of all cells.

    Raises:
        UnknownNameError: A policy, a reward or an attack is not known.
        SettingsError: A setting is out of range.
        DataError: A file of an attack cannot be read.
    """
    folder, settings = Path(folder), settings or RunSettings()
    store, sources = Store(folder), _with_own(sources or AttackSources(), config, clean)
    cells = config.cells()
    identity = data_identity(clean, config.models.model)
    identity |= sources.identity(cell.models.attack.attack for cell in cells)
    keyed = {cell.key(identity): cell for cell in cells}
    planned = tuple(PlannedCell(key, str(cell), cell) for key, cell in keyed.items())
    write_json(folder / PLAN, to_plain(GridPlan(config, identity, planned)))
    if settings.retry_failed:
        for key in filter(store.has, keyed):
            if store.read(key).status == "failed":
                store.discard(key)
    task = Task(
        folder=folder,
        cells=tuple(cells),
        clean=clean,
        identity=identity,
        sources=sources,
        cache=cache_folder(),
        threads=settings.threads or _threads(settings, config),
        plugins=settings.plugins,
        keep_models=settings.keep_models,
        store=settings.store,
    )
    with recording(folder, "benchmark"):
        if settings.ray is None:
            _run(task, keyed, store, settings, on_cell)
        else:
            _run_on_ray(task, keyed, settings, config, on_cell)
    results = [store.read(key).status for key in keyed]
    return {status: results.count(status) for status in ("done", "failed")}


def data_identity(clean: Splits, model: str) -> dict[str, str]:
    """Return the SHA-256 of each part of the data and of the model's files.

    Args:
        clean: The data set.
        model: A folder or a name.
    """
    return {
        "train": clean.train.sha256,
        "validation": clean.validation.sha256,
        "test": clean.test.sha256,
        "model": inspect_source(find_source(model)).sha256,
    }


def _with_own(sources: AttackSources, config: BenchmarkConfig, clean: Splits) -> AttackSources:
    """Return the sources with the attacks that the grid brings."""
    read = partial(read_table, label_names=clean.train.label_names)
    missing = [each for each in config.attacks if sources.find_own(each.name) is None]
    own = tuple(read_own_attack(each, read) for each in missing)
    return replace(sources, own=(*sources.own, *own))


def _threads(settings: RunSettings, config: BenchmarkConfig) -> int:
    if settings.ray is not None:
        return config.resources.threads
    return max(1, (os.cpu_count() or 1) // settings.workers)


def _run_on_ray(
    task: Task,
    cells: dict[str, Cell],
    settings: RunSettings,
    config: BenchmarkConfig,
    on_cell: Report,
) -> None:
    load_ray()  # an extra
    from prune_env.research.benchmark.cluster import driver  # noqa: PLC0415

    where = driver.ClusterSettings(settings.ray or "", config.resources, settings.limit_s)
    driver.run_on_ray(task, cells, where, on_cell)


def _run(
    task: Task, cells: dict[str, Cell], store: Store, settings: RunSettings, on_cell: Report
) -> None:
    """Let workers run the cells that have no result; tell of each as it comes."""
    pending = {key: cell for key, cell in cells.items() if not store.has(key)}
    news, count = CellNews(cells, store), len(pending)  # what was found before is told, too
    if not pending:
        return
    crew = _Crew(task, cells, store, settings)
    try:
        with progress("Running cells", count) as advance:
            while pending:
                crew.keep_going(len(pending))
                time.sleep(POLL_S)
                news.running(crew.running)
                for key in [key for key in pending if store.has(key)]:
                    news.finished(key)
                    on_cell(pending.pop(key), store.read(key))
                advance(count - len(pending))
    finally:
        crew.stop()


class _Crew:
    """The worker processes; one that dies is replaced, and its cell is marked failed."""

    def __init__(
        self, task: Task, cells: dict[str, Cell], store: Store, settings: RunSettings
    ) -> None:
        self._task = task
        self._cells = cells
        self._store = store
        self._settings = settings
        self._context = _context()
        self._members: dict[int, tuple[BaseProcess, Current]] = {}

    def keep_going(self, wanted: int) -> None:
        """Start missing workers, as many as there are cells at most; look after the others."""
        for number in range(min(self._settings.workers, wanted)):
            if number not in self._members:
                self._start(number)
        for number, (process, current) in list(self._members.items()):
            if not process.is_alive():
                self._members.pop(number)
                if process.exitcode:
                    self._blame(current, f"the worker ended with status {process.exitcode}")
            elif current.seconds > self._settings.limit_s:
                self._members.pop(number)
                _end(process, grace_s=0)
                self._blame(current, f"took longer than {self._settings.limit_s:g} s")

    @property
    def running(self) -> list[str]:
        """Addresses of the cells that are being run."""
        return [current.key for _, current in self._members.values() if current.key]

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
            StateError: It was lost before it ran any, as the next one would be.
        """
        if not current.key:
            raise StateError(
                f"A worker could not work: {reason}",
                remedy=f"read the log in {self._task.folder / 'logs'}",
            )
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
    return context


def _end(process: BaseProcess, grace_s: float) -> None:
    process.terminate()
    process.join(grace_s)
    if process.is_alive():
        process.kill()
        process.join()
