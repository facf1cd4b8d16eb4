"""The tasks of a grid, run by processes of Ray on machines that share no folder with the driver.

A process keeps the files and models of one attack for its next task, as a local worker does.
"""

import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from prune_env.research.attacks.sources import AttackSources
from prune_env.research.benchmark.cell import Cell, digest
from prune_env.research.benchmark.cluster.order import (
    ENCODER,
    TEXTS,
    CellReply,
    Order,
    Part,
    TaskFailure,
)
from prune_env.research.benchmark.outcome import describe, failed_outcome, run_cell, write_model
from prune_env.research.benchmark.workbench import CellResult, Workbench
from prune_env.research.benchmark.worker import prepare_process
from prune_env.utils.bundle import Bundle, pack, unpack
from prune_env.utils.cluster import ProcessFolder, load_ray, this_node
from prune_env.utils.source import code

Given = Bundle | TaskFailure


@dataclass(frozen=True, eq=False)
class _Held:
    """What this process keeps between two tasks."""

    name: str
    scratch: ProcessFolder
    bench: Workbench


_held: _Held | None = None


def make_part(order: Order, name: str, part: Part, cell: Cell, *given: Given) -> Given:
    """Make what several cells share.

    Args:
        order: Of the run.
        name: Of the part.
        part: What it is.
        cell: One of the cells.
        *given: What it is made from.

    Returns:
        The files, below the folder that is both the run's and the cache of this process.
    """
    try:
        failure = _begin(order, name, given)
        if failure is not None:
            return failure
        held = _hold(order, cell, given)
        known = set(pack(held.scratch.folder))
        _make(held.bench, part, cell)
        made = pack(held.scratch.folder)
        return {path: data for path, data in made.items() if path not in known}
    except Exception as error:  # as a cell that fails is a result
        return TaskFailure(describe(error), traceback.format_exc(), this_node(load_ray()))


def measure_cell(order: Order, name: str, cell: Cell, *given: Given) -> CellReply | TaskFailure:
    """Run a cell.

    Args:
        order: Of the run.
        name: Address of the cell.
        cell: The cell, in its `normal` form.
        *given: What it is made from.

    Returns:
        Its outcome; a failure if this machine may not run it.
    """
    node = this_node(load_ray())
    failure = _begin(order, name, given)
    if failure is not None and failure.refused:
        return failure
    if failure is not None:
        return CellReply(failed_outcome(cell, failure.error, failure.details, failure.node))
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def keep(result: CellResult) -> None:
            write_model(cell, result, folder)

        bench = _hold(order, cell, given).bench
        done = run_cell(bench, cell, keep if order.keep_models else None)
        done = replace(done, value=done.value | {"node": node})
        return CellReply(done, pack(folder) if order.keep_models else None)


def _begin(order: Order, name: str, given: tuple[Given, ...]) -> TaskFailure | None:
    """Tell that a task is begun; return why it cannot be done, if so."""
    node = this_node(load_ray())
    order.begun.note.remote(name, node)
    if order.code != code():
        return TaskFailure(code(), "", node, refused=True)
    return next((each for each in given if isinstance(each, TaskFailure)), None)


def _hold(order: Order, cell: Cell, given: tuple[Given, ...]) -> _Held:
    """Return the bench for the attack of a cell, with what is given in its folder."""
    global _held  # noqa: PLW0603 - a process of Ray has no other memory
    name = digest([order.run, asdict(cell.models)])
    if _held is not None and _held.name != name:
        _held.scratch.close()
        _held = None
    if _held is None:
        prepare_process(order.threads, order.plugins)
        _held = _Held(name, *_bench(order))
    for bundle in given:
        if not isinstance(bundle, TaskFailure):
            unpack(bundle, _held.scratch.folder)
    return _held


def _bench(order: Order) -> tuple[ProcessFolder, Workbench]:
    scratch = ProcessFolder()
    folder = scratch.folder
    bench = Workbench(
        order.clean,
        folder,
        identity=order.identity,
        sources=AttackSources(folder / TEXTS, own=order.own),
        cache=folder,
        encoder=folder / ENCODER,
    )
    return scratch, bench


def _make(bench: Workbench, part: Part, cell: Cell) -> None:
    steps: dict[Part, Callable[[], object]] = {
        "attack": lambda: bench.models(cell.models),
        "fine-tuned": lambda: bench.subject(cell, cell.requirements),
        "mask": lambda: bench.found(cell, bench.subject(cell, cell.requirements)),
    }
    steps[part]()
