"""One worker process: takes cells that nobody has, until none is left."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from multiprocessing import parent_process
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from pathlib import Path
from types import FrameType
from typing import NoReturn

from prune_env.data.dataset import Splits
from prune_env.research.attacks.sources import AttackSources
from prune_env.research.benchmark.cell import Cell, digest
from prune_env.research.benchmark.model_store import ModelStore
from prune_env.research.benchmark.outcome import describe, run_cell, write_model
from prune_env.research.benchmark.store import Store
from prune_env.research.benchmark.workbench import CellResult, Workbench
from prune_env.utils.full_disk import tells_full_disk
from prune_env.utils.memory import keep_imports

log = logging.getLogger(__name__)

PAUSE_S = 0.5
"""Between two looks at cells that other workers hold."""
_told_to_end: list[int] = []
"""The status to end with, once SIGTERM has arrived in this process."""


@dataclass(frozen=True, eq=False)
class Task:
    """What every worker of a run is given.

    Attributes:
        folder: The run folder.
        cells: All cells, in order.
        clean: The data set.
        identity: SHA-256 of data, model and files of attacks.
        sources: Where the texts of attacks come from.
        cache: Where backdoored and benign models are kept.
        threads: Threads of torch in each worker.
        plugins: Modules that register further policies.
        keep_models: Keep the model of every cell.
        store: URL of the place where models are kept for other machines too.
    """

    folder: Path
    cells: tuple[Cell, ...]
    clean: Splits
    identity: dict[str, str]
    sources: AttackSources
    cache: Path
    threads: int
    plugins: tuple[str, ...]
    keep_models: bool = False
    store: str | None = None


def work(task: Task, number: int, current: "Current") -> None:
    """Run cells until every cell has a result; the body of a worker process.

    Args:
        task: What to do.
        number: Of this worker, from 0.
        current: Takes the cell that is being run, where it outlives this process.
    """
    try:
        _work(task, number, current)
    except Exception as error:
        if not tells_full_disk(error):
            raise
        _end_for_room(current, describe(error))


def _end_for_room(current: "Current", error: str) -> NoReturn:
    """End a worker whose disk is full: every other cell would fail for it, too."""
    current.no_room = error
    sys.exit(1)


def _work(task: Task, number: int, current: "Current") -> None:
    _become_a_worker(task, number)
    store = Store(task.folder)
    bench = Workbench(
        task.clean,
        task.folder,
        identity=task.identity,
        sources=task.sources,
        cache=task.cache,
        store=ModelStore(task.store) if task.store else None,
    )

    def run(cell: Cell, key: str) -> None:
        def keep(result: CellResult) -> None:
            with store.keep_model(key) as folder:
                write_model(cell, result, folder)

        current.begin(key)
        log.info("%s: %s", key, cell)
        done = run_cell(bench, cell, keep if task.keep_models else None)
        if _told_to_end:  # what unwinds may have become an error, as in torch's len(storage)
            sys.exit(_told_to_end[0])
        if done.no_room:
            _end_for_room(current, done.value["error"])
        store.write(key, done.value, done.embeddings)
        current.end()

    todo = {cell: cell.key(task.identity) for cell in task.cells}
    while todo:
        # What another worker has the models of comes last: they would have to be waited for.
        cell = _run_first(run, store, todo, alone=True) or _run_first(run, store, todo, alone=False)
        if cell is None:
            time.sleep(PAUSE_S)
        todo = {cell: key for cell, key in todo.items() if not store.has(key)}


def _run_first(
    run: Callable[[Cell, str], None], store: Store, todo: dict[Cell, str], *, alone: bool
) -> Cell | None:
    """Run the first free cell; with `alone`, of models that no other worker works on."""
    for cell, key in todo.items():
        with store.claim_group(digest(asdict(cell.models))) as sole:
            if alone and not sole:
                continue
            with store.claim(key) as free:
                if free and not store.has(key):
                    run(cell, key)
                    return cell
    return None


class Current:
    """Which cell a worker is running, in memory that outlives the worker.

    Args:
        context: Of multiprocessing.
    """

    def __init__(self, context: BaseContext) -> None:
        self._key = context.Array("c", 64, lock=False)
        self._since = context.Value("d", 0.0, lock=False)
        self._no_room = context.Array("c", 1_000, lock=False)

    def begin(self, key: str) -> None:
        """Note that a cell is begun."""
        self._since.value = time.monotonic()  # one clock for all processes, which nobody sets
        self._key.value = key.encode()

    def end(self) -> None:
        """Note that no cell is being run."""
        self._key.value = b""

    @property
    def key(self) -> str:
        """Key of the cell; empty between cells."""
        return bytes(self._key.value).decode()

    @property
    def no_room(self) -> str:
        """What a full disk was said to be by, where one ended the worker; else empty."""
        return bytes(self._no_room.value).decode("utf-8", "replace")

    @no_room.setter
    def no_room(self, told: str) -> None:
        self._no_room.value = told.encode("utf-8", "replace")[:999]

    @property
    def begun(self) -> bool:
        """Whether any cell was begun."""
        return bool(self._since.value)

    @property
    def seconds(self) -> float:
        """Since the cell was begun."""
        return time.monotonic() - self._since.value if self.key else 0.0


def _become_a_worker(task: Task, number: int) -> None:
    # The parent answers Ctrl-C and ends its workers by SIGTERM, which must unwind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, unwind)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logs = (task.folder / "logs").resolve()
    logs.mkdir(parents=True, exist_ok=True)
    handle = os.open(logs / f"worker-{number}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("prune_env").setLevel(logging.INFO)
    prepare_process(task.threads, task.plugins)


def unwind(number: int, _frame: FrameType | None) -> None:
    """Answer a signal: note it, and raise `SystemExit`."""
    _told_to_end.append(128 + number)
    sys.exit(128 + number)


def prepare_process(threads: int, plugins: Sequence[str]) -> None:
    """Make a process ready to measure cells.

    Args:
        threads: Of torch.
        plugins: Modules to import, which register policies and rewards.
    """
    import torch  # noqa: PLC0415 - only to set its threads

    torch.set_num_threads(threads)
    for plugin in plugins:
        import_module(plugin)
    keep_imports()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
