"""A whole benchmark: every cell that has no result yet is run, and what was done is told."""

import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from prune_env.data.dataset import Splits
from prune_env.data.readers import read_table
from prune_env.errors import SettingsError
from prune_env.models import find_source, inspect_source
from prune_env.research.attacks.backdoor import make_texts
from prune_env.research.attacks.own_files import read_own_attack
from prune_env.research.attacks.sources import AttackSources
from prune_env.research.benchmark.cell import Cell, codes_of
from prune_env.research.benchmark.cell_events import CellNews
from prune_env.research.benchmark.config import BenchmarkConfig
from prune_env.research.benchmark.crew import Crew
from prune_env.research.benchmark.model_store import ModelStore
from prune_env.research.benchmark.plan import PLAN, GridPlan, PlannedCell, RowCounts
from prune_env.research.benchmark.record import CellRecord
from prune_env.research.benchmark.store import Store
from prune_env.research.benchmark.worker import Task
from prune_env.utils.cluster import load_ray
from prune_env.utils.events import recording
from prune_env.utils.files import cache_folder, write_json
from prune_env.utils.output import require_outside
from prune_env.utils.plain import to_plain
from prune_env.utils.progress import progress

log = logging.getLogger(__name__)
POLL_S = 0.2

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
                raise SettingsError(f"{name} is out of range", expected="> 0", actual=value)
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
        SettingsError: A setting is out of range, or the cache cannot be written to.
        DataError: An attack cannot be made of this data, or a file of it cannot be read.
        OutputExistsError: The run folder lies inside that of the model.
        StateError: The store cannot be used.
    """
    folder, settings = Path(folder), settings or RunSettings()
    _try_out(folder, settings, config)
    config = config.for_labels(clean.train.label_names)
    store, sources = Store(folder), _with_own(sources or AttackSources(), config, clean)
    cells = config.cells()
    _try_attacks(cells, clean, sources)
    identity = data_identity(clean, config.models.model) | codes_of(cells)
    identity |= sources.identity(cell.models.attack.attack for cell in cells)
    keyed = {cell.key(identity): cell for cell in cells}
    _warn_of_results_left_out(folder, store, keyed)
    write_json(folder / PLAN, to_plain(_plan(config, identity, keyed, clean)))
    _discard_failed(store, keyed if settings.retry_failed else ())
    task = Task(
        folder=folder,
        cells=tuple(cells),
        clean=clean,
        identity=identity,
        sources=sources,
        cache=_tried_cache(),
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
    return _counts(store, keyed)


def _try_out(folder: Path, settings: RunSettings, config: BenchmarkConfig) -> None:
    """Raise where a cluster, a store or the folder is of no use, before anything is written."""
    require_outside(folder, config.models.model)
    if settings.ray is not None:
        load_ray()  # an extra
    if settings.store is not None:
        ModelStore(settings.store).try_out()


def _counts(store: Store, keys: Iterable[str]) -> dict[str, int]:
    # Another run in the folder may have taken failures away, to try them again.
    ended = Counter(store.read(key).status for key in keys if store.has(key))
    return {status: ended[status] for status in ("done", "failed")}


def _plan(
    config: BenchmarkConfig, identity: dict[str, str], keyed: Mapping[str, Cell], clean: Splits
) -> GridPlan:
    planned = tuple(PlannedCell(key, str(cell), cell) for key, cell in keyed.items())
    return GridPlan(config, identity, planned, RowCounts.of(clean))


def _try_attacks(cells: Iterable[Cell], clean: Splits, sources: AttackSources) -> None:
    """Raise where an attack cannot be made; hours may lie between the start and its first cell."""
    for models in {cell.models.attack.attack: cell.models for cell in cells}.values():
        make_texts(models, clean, sources)


def _discard_failed(store: Store, keys: Iterable[str]) -> None:
    for key in filter(store.has, keys):
        if store.read(key).status == "failed":
            store.discard(key)


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


def _warn_of_results_left_out(folder: Path, store: Store, keyed: Collection[str]) -> None:
    """Say how many results an earlier grid left in the folder that the new plan does not hold."""
    left = [key for key in store.addresses() if key not in keyed]
    if left:
        log.warning(
            "Results of another grid, of other data or of other code of plug-ins, in %s: %d. "
            "They stay in its cells/, and leave its report; give another --out to keep the "
            "reports apart",
            folder,
            len(left),
        )


def _tried_cache() -> Path:
    """Return the cache; every cell needs it, and would fail for the want of it.

    Raises:
        SettingsError: Nothing can be written there.
    """
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            return cache
    except OSError as error:
        raise SettingsError(
            f"The cache {cache} cannot be written to",
            expected="a folder, in which models are kept",
            actual=error.strerror,
            remedy="set PRUNE_ENV_CACHE to another",
        ) from None


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
    crew = Crew(task, cells, store, workers=settings.workers, limit_s=settings.limit_s)
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
