"""Ray, an extra: connecting to it in bounded time, and refusing machines with other code.

Nothing here schedules: that is what Ray is for. Machines share no folder; what tasks need and give
travels as objects (`utils.bundle`).
"""

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from math import inf
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from prune_env.errors import PruneEnvError, SettingsError, StateError
from prune_env.utils.output import hidden_folder, remove_leftovers
from prune_env.utils.source import code

LOCAL = "local"
ANSWER_S = 30.0
"""For a cluster to answer; Ray itself would try for minutes."""
NODE_S = 180.0
"""For a machine to start a process and import the package."""
NEWS_S = 30.0
"""For all machines to hear that one came or died."""
RETRIES = 3
"""Of a task whose process or machine died; one that raises is not tried again."""

_HEALTH = "import sys; from ray.scripts.scripts import main; sys.argv[0] = 'ray'; main()"


@dataclass(frozen=True)
class Resources:
    """What one task is given, as Ray counts it.

    Attributes:
        num_cpus: Cores; torch uses so many threads.
        num_gpus: GPUs; 0.5 puts two tasks on one.
    """

    num_cpus: float = 1.0
    num_gpus: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: A value is out of range.
        """
        if not (0 < self.num_cpus < inf and 0 <= self.num_gpus < inf):
            raise SettingsError(
                "resources are out of range", expected="num_cpus > 0, num_gpus >= 0", actual=self
            )

    @property
    def threads(self) -> int:
        """Threads of torch."""
        return max(1, int(self.num_cpus))

    def fit(self, offered: dict[str, float]) -> int:
        """Return how many tasks fit into what a machine or a cluster offers, as Ray names it."""
        fits = [offered.get("CPU", 0.0) / self.num_cpus]
        if self.num_gpus:
            fits.append(offered.get("GPU", 0.0) / self.num_gpus)
        return int(min(fits))


ONE_CORE = Resources()


def load_ray() -> Any:
    """Return the module.

    Raises:
        SettingsError: It is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # which would use the network
    try:
        return import_module("ray")
    except ImportError as error:
        raise SettingsError(
            "Ray is not installed", actual=error, remedy="pip install 'prune-env[cluster]'"
        ) from None


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to a cluster for the length of the body; a connection that exists is used.

    Args:
        address: `local` starts one on this machine; `auto`, `HOST:PORT` or `ray://HOST:PORT`.

    Yields:
        The module `ray`.

    Raises:
        StateError: Nothing answers there, or another version of Ray or Python does.
    """
    ray = load_ray()
    if ray.is_initialized():
        yield ray
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address == LOCAL:
            ray.init(address=LOCAL, include_dashboard=False, **quiet)
        else:
            _check_answer(address)
            ray.init(address=address, **quiet)
    except PruneEnvError:
        raise
    except Exception as error:  # Ray raises bare ones too
        raise _no_answer(address, error) from error
    try:
        yield ray
    finally:
        ray.shutdown()
        remove_leftovers(_scratch())


def _check_answer(address: str) -> None:
    """Raise unless a cluster is there; in a child process, for Ray cannot be interrupted."""
    if address == "auto" or address.startswith("ray://"):  # those give up in time
        return
    command = [sys.executable, "-c", _HEALTH, "health-check", "--address", address]
    try:
        done = subprocess.run(
            command, timeout=ANSWER_S, check=False, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        raise _no_answer(address, f"nothing for {ANSWER_S:g} s") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no answer").splitlines()[-1]
        raise _no_answer(address, last)


def _no_answer(address: str, actual: object) -> StateError:
    return StateError(
        f"No Ray cluster can be reached at {address}",
        expected="the address that `ray start --head` printed, such as 10.0.0.1:6379, or local",
        actual=actual,
        remedy="check `ray status --address ADDRESS` from this machine; a busy one may need more "
        "than one try to start a cluster of its own",
    )


def check_nodes(ray: Any, resources: Resources) -> None:
    """Raise unless all machines that can run a task have the code of this one.

    Args:
        ray: The module, connected.
        resources: Of a task.

    Raises:
        SettingsError: No machine offers so much.
        StateError: Machines have other code, or none.
    """
    nodes = _alive(ray)
    able = [node for node in nodes if resources.fit(node["Resources"])]
    if not able:
        offered = [
            {name: node["Resources"].get(name, 0) for name in ("CPU", "GPU")} for node in nodes
        ]
        raise SettingsError(
            "No machine of the cluster can run a task",
            expected=f"one with {resources.num_cpus:g} CPUs and {resources.num_gpus:g} GPUs",
            actual=offered,
            remedy="change [resources] in the grid file, or add a machine",
        )
    found = _codes(ray, able)
    other = {name: each for name, each in found.items() if each != code()}
    if other:
        raise other_code(other)


def _codes(ray: Any, nodes: list[dict[str, Any]]) -> dict[str, str]:
    """Return the code of machines by name, or what hindered them; those that died are left out.

    The head hears of a machine that came or died a moment before the others do, so that for a while
    tasks can find no place on one that is listed.
    """
    found: dict[str, str] = {}
    until = time.monotonic() + NEWS_S
    while True:
        no_place = []
        for node, reference in [(node, _ask_code(ray, node)) for node in nodes]:
            try:
                found[_name(node)] = ray.get(reference, timeout=NODE_S)
            except Exception as error:  # it may lack the package, or half of it
                found[_name(node)] = in_a_line(error)
                if isinstance(error, ray.exceptions.TaskUnschedulableError):
                    no_place.append(node["NodeID"])
        alive = _alive(ray)
        found = {name: each for name, each in found.items() if name in map(_name, alive)}
        nodes = [node for node in alive if node["NodeID"] in no_place]
        if not nodes or time.monotonic() > until:
            return found
        time.sleep(1.0)


def _ask_code(ray: Any, node: dict[str, Any]) -> Any:
    there = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], False)
    task = ray.remote(code)
    return task.options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote()


def _alive(ray: Any) -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def other_code(found: dict[str, str]) -> StateError:
    """Return the error for machines that have other code, by their names."""
    return StateError(
        "Machines of the cluster have another version of prune-env, or do not answer",
        expected=code(),
        actual="; ".join(f"{name}: {each}" for name, each in found.items()),
        remedy="install the same release or commit on every machine, and restart Ray there; of one "
        "that does not answer, look at its load and at `ray status`",
    )


def in_a_line(error: Exception) -> str:
    """Return what Ray says of a task that gave nothing; its messages have many lines, or none."""
    lines = str(error).strip().splitlines() or [""]
    raised = hasattr(error, "cause")  # by the task: a traceback
    return f"{type(error).__name__}: {lines[-1 if raised else 0]}"


def this_node(ray: Any) -> str:
    """Return the name of the machine of a task: its address, and Ray's id of it."""
    return _named(ray.util.get_node_ip_address(), ray.get_runtime_context().get_node_id())


def _name(node: dict[str, Any]) -> str:
    return _named(node["NodeManagerAddress"], node["NodeID"])


def _named(address: str, identity: str) -> str:
    return f"{address} ({identity[:8]})"


def _scratch() -> Path:
    """Return the place beside which processes have folders; the user's own."""
    place = Path(gettempdir()) / f"prune-env-{os.getuid()}" / "task"
    place.parent.mkdir(mode=0o700, exist_ok=True)
    found = place.parent.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
        raise StateError(
            f"{place.parent} is not a folder of your own",
            expected=f"a folder of user {os.getuid()}",
            actual=f"mode {found.st_mode:o} of user {found.st_uid}",
            remedy="remove it, or set TMPDIR where Ray is started",
        )
    return place


class ProcessFolder:
    """A folder of this process, which goes with it.

    What processes left that were killed is removed by the next one on the machine.
    """

    def __init__(self) -> None:
        place = _scratch()
        remove_leftovers(place)
        self._stack = ExitStack()
        self.folder = self._stack.enter_context(hidden_folder(place))

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._stack.close()
