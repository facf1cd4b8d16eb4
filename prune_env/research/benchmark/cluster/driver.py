"""The driver of a grid on Ray: sends tasks, and alone writes what comes back.

Ray schedules, tries the tasks of dead processes and machines again, and makes lost objects anew.
The driver opens no more attacks at once than there is room for tasks, so that the models of a few
of them are in memory and not those of all. It may be killed at any time: the next one finds the
results, the masks and the models that came back, and Ray ends the tasks of the dead one.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prune_env.research.benchmark.cell import Cell
from prune_env.research.benchmark.cell_events import CellNews
from prune_env.research.benchmark.cluster.begun import Begun
from prune_env.research.benchmark.cluster.order import CellReply, Part, TaskFailure
from prune_env.research.benchmark.cluster.parts import SharedParts, default_store
from prune_env.research.benchmark.cluster.tasks import make_part, measure_cell
from prune_env.research.benchmark.model_store import ModelStore
from prune_env.research.benchmark.outcome import failed_outcome
from prune_env.research.benchmark.record import CellRecord
from prune_env.research.benchmark.store import Store
from prune_env.research.benchmark.worker import Task
from prune_env.utils.bundle import unpack
from prune_env.utils.cluster import (
    RETRIES,
    Resources,
    check_nodes,
    connected,
    in_a_line,
    other_code,
)
from prune_env.utils.leases import alone

log = logging.getLogger(__name__)
POLL_S = 1.0
"""Between two looks at what was begun."""

Report = Callable[[Cell, CellRecord], None]


@dataclass(frozen=True)
class ClusterSettings:
    """Where a grid is run.

    Attributes:
        address: Of Ray; see `utils.cluster.connected`.
        resources: Of each task.
        limit_s: A task that takes longer is stopped.
    """

    address: str
    resources: Resources
    limit_s: float


def run_on_ray(
    task: Task, cells: Mapping[str, Cell], settings: ClusterSettings, on_cell: Report
) -> None:
    """Run the cells that have no result.

    Args:
        task: The run.
        cells: All cells by their address, in order.
        settings: Where.
        on_cell: Called with each cell and its result as it comes.

    Raises:
        StateError: No cluster answers, machines have other code, or another driver is at work.
        SettingsError: No machine offers what a task needs.
    """
    doing = f"runs the grid in {task.folder} on Ray"
    with alone(task.folder / "locks" / "driver", doing), connected(settings.address) as ray:
        check_nodes(ray, settings.resources)
        grid = _Grid(ray, task, cells, settings, on_cell)
        try:
            grid.run()
        finally:
            grid.stop()


@dataclass(frozen=True, eq=False)
class _Sent:
    """A task that was sent: a cell, or a part that cells of an attack share."""

    name: str
    cell: Cell
    part: Part | None
    needs: tuple[str, ...]


class _Grid:
    def __init__(
        self,
        ray: Any,
        task: Task,
        cells: Mapping[str, Cell],
        settings: ClusterSettings,
        on_cell: Report,
    ) -> None:
        self._ray = ray
        self._settings = settings
        self._on_cell = on_cell
        self._results = Store(task.folder)
        self._news = CellNews(cells, self._results)
        models = ModelStore(task.store) if task.store else default_store(task.cache)
        self._parts = SharedParts(task, models)
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=True
        )
        actor = ray.remote(Begun).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here)
        self._begun = actor.remote()
        self._asked: Any = None
        self._order = ray.put(self._parts.order(self._begun))
        self._sent: dict[Any, _Sent] = {}
        self._late: dict[str, str] = {}
        self._groups: dict[Any, list[tuple[str, Cell]]] = {}
        for key, cell in cells.items():
            if not self._results.has(key):
                self._groups.setdefault(cell.models, []).append((key, cell))

    def run(self) -> None:
        """Send the attacks one after the other, and take what comes back."""
        looked = time.monotonic()
        while self._groups or self._sent:
            while self._groups and self._open() < self._room():
                self._send(self._groups.pop(next(iter(self._groups))))
            ready, _ = self._ray.wait(
                list(self._sent), num_returns=len(self._sent), timeout=POLL_S / 4
            )
            for reference in ready:
                self._take(reference, self._sent.pop(reference))
            if time.monotonic() - looked > POLL_S:
                self._look()
                looked = time.monotonic()

    def stop(self) -> None:
        """End the tasks that are still running."""
        for reference in self._sent:
            self._ray.cancel(reference, force=True)
        self._ray.kill(self._begun)

    def _open(self) -> int:
        return len({sent.cell.models for sent in self._sent.values()})

    def _room(self) -> int:
        """Return how many tasks can run at once."""
        return max(1, self._settings.resources.fit(self._ray.cluster_resources()))

    def _task(self, function: Callable[..., Any]) -> Any:
        resources = self._settings.resources
        return self._ray.remote(function).options(
            num_cpus=resources.num_cpus, num_gpus=resources.num_gpus, max_retries=RETRIES
        )

    def _send(self, cells: list[tuple[str, Cell]]) -> None:
        """Send the cells of one attack, with what they share."""
        made: dict[str, Any] = {}
        inputs = self._ray.put(self._parts.inputs(cells[0][1].models))
        for key, cell in cells:
            given, needs = [inputs], []
            for part, name in self._parts.needed_by(cell).items():
                if name not in made:
                    made[name] = self._part(name, part, cell, given)
                given.append(made[name])
                needs.append(name)
            reference = self._task(measure_cell).remote(self._order, key, cell, *given)
            self._sent[reference] = _Sent(key, cell, None, tuple(needs))

    def _part(self, name: str, part: Part, cell: Cell, given: list[Any]) -> Any:
        """Return a reference to a part, at hand or to be made."""
        found = self._parts.find(name, part)
        if found is not None:
            return self._ray.put(found)
        reference = self._task(make_part).remote(self._order, name, part, cell, *given)
        self._sent[reference] = _Sent(name, cell, part, ())
        return reference

    def _take(self, reference: Any, sent: _Sent) -> None:
        """Keep what a task gave.

        Raises:
            StateError: A machine with other code was about to run it.
        """
        reply = self._reply(reference, sent)
        failed = isinstance(reply, TaskFailure)
        if failed and reply.refused:
            raise other_code({reply.node: reply.error})
        if sent.part is not None:
            if not failed:  # or the cells that need it will say so
                self._parts.keep(sent.name, sent.part, reply)
            return
        if failed:
            reply = CellReply(failed_outcome(sent.cell, reply.error, reply.details, reply.node))
        if reply.model is not None:
            with self._results.keep_model(sent.name) as folder:
                unpack(reply.model, folder)
        self._results.write(sent.name, reply.done.value, reply.done.embeddings)
        self._news.finished(sent.name)
        self._on_cell(sent.cell, self._results.read(sent.name))

    def _reply(self, reference: Any, sent: _Sent) -> Any:
        """Return what a task gave, or why it gave nothing."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            last = next((name for name in (sent.name, *sent.needs) if name in self._late), "")
            reason = self._late.get(last) or in_a_line(error)
            return TaskFailure(reason, str(error), self._node_of((sent.name, *sent.needs)))

    def _node_of(self, names: tuple[str, ...]) -> str:
        """Return where the first of some tasks that was begun was begun last."""
        try:
            told = self._ray.get(self._begun.told.remote(), timeout=10 * POLL_S)
        except self._ray.exceptions.RayError:
            told = {}
        return next((told[name][0] for name in names if name in told), "")

    def _look(self) -> None:
        """Tell what was begun, and end what takes too long."""
        if self._asked is None:
            self._asked = self._begun.told.remote()
        ready, _ = self._ray.wait([self._asked], timeout=0)
        if not ready:  # the actor is being started, or moved
            return
        asked, self._asked = self._asked, None
        try:
            told = self._ray.get(asked)
        except self._ray.exceptions.RayError as error:
            log.warning("Where tasks were begun is not known at the moment: %s", error)
            return
        sent_cells = (sent.name for sent in self._sent.values() if sent.part is None)
        self._news.running(name for name in sent_cells if name in told)
        for reference, sent in self._sent.items():
            _, seconds = told.get(sent.name, ("", 0.0))
            if seconds > self._settings.limit_s and sent.name not in self._late:
                self._late[sent.name] = f"took longer than {self._settings.limit_s:g} s"
                self._ray.cancel(reference, force=True)
