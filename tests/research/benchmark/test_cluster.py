"""Grids and trainings on a real Ray cluster of two or three nodes, all on this machine.

What costs are processes, each of which imports torch and transformers: a connection to Ray has its
own on every node.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from prune_env.agents.side_by_side import SideBySide, train_trials
from prune_env.agents.train_settings import TrainSettings
from prune_env.agents.trials import make_trials
from prune_env.cli import main
from prune_env.data.loading import load_data
from prune_env.errors import SettingsError, StateError
from prune_env.research.benchmark.cell import Cell
from prune_env.research.benchmark.cluster import driver
from prune_env.research.benchmark.config import BenchmarkConfig, read_config
from prune_env.research.benchmark.record import CellRecord
from prune_env.research.benchmark.runner import RunSettings, run_benchmark
from prune_env.utils import cluster as connecting
from tests.research.benchmark import plugin
from tests.research.benchmark.support import write_grid
from tests.research.benchmark.test_runner import (
    CODE,
    ROOT,
    results,
    wait_for_cells,
    wait_for_files,
)

ray = pytest.importorskip("ray", reason="Ray is not installed: the extra `cluster`")
cluster_utils = pytest.importorskip("ray.cluster_utils")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ray's test cluster needs POSIX")
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_log_monitor": False}


@pytest.fixture(scope="module")
def hold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """While this file is there, no cell of `grid` that prunes ends in any process."""
    folder = tmp_path_factory.mktemp("plugin")
    plugin.install(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(plugin.HOLD, str(folder / "hold"))
        patch.setenv("PYTHONPATH", os.pathsep.join((str(folder), str(ROOT))))
        yield folder / "hold"


@pytest.fixture(scope="module")
def cluster(hold: Path) -> Iterator[Any]:
    """A cluster of a head and a node with a core each; nothing of it is left."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Or a busy machine never comes to the tests.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - so Ray calls it
    for attempt in range(3):  # Ray gives a node 30 seconds, which a busy machine may not have
        try:
            made = cluster_utils.Cluster()
            for _ in range(2):
                made.add_node(**NODE, include_dashboard=False)
            made.wait_for_nodes(timeout=60)
            break
        except Exception as error:  # Ray says in many ways that a machine is too small
            end_processes()
            if attempt == 2:
                pytest.skip(f"Ray cannot start here: {error}")
    yield made
    made.shutdown()
    end = time.monotonic() + 30
    while left := ray_processes():
        assert time.monotonic() < end, left
        time.sleep(0.2)


def ray_processes() -> dict[int, str]:
    """Return the processes of Ray that this one started, by number, with their titles."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            title = " ".join(process.cmdline())  # empty of one that ended
            if "ray::" in title or "/raylet" in title or "gcs_server" in title:
                found[process.pid] = title
    return found


def end_processes() -> None:
    for number in ray_processes():
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def kill_a_busy_worker() -> bool:
    """Kill a process that runs a task, as the kernel does where memory runs out."""
    for pid, title in ray_processes().items():
        if title.startswith(("ray::measure_cell", "ray::make_part", "ray::train_slice")):
            os.kill(pid, signal.SIGKILL)
            return True
    return False


@pytest.fixture
def connection(cluster: Any) -> Iterator[None]:
    """One for all runs of a test, which then share the processes of Ray's workers."""
    with connecting.connected(cluster.address):
        yield


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grid")
    return write_grid(folder, ["waits"], (0, 1))


@pytest.fixture(scope="module")
def alone(grid: Path, hold: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What the same grid gives without Ray."""
    out = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNE_ENV_CACHE", str(out / "cache"))
        run(read_config(grid), out, RunSettings(threads=1, plugins=(plugin.__name__,)))
    return results(out)


def run(config: BenchmarkConfig, out: Path, settings: RunSettings, **more: Any) -> dict[str, int]:
    return run_benchmark(config, load_data(config.data), out, settings, **more)


def test_a_worker_and_a_node_die_and_the_results_are_those_of_one_machine(
    cluster: Any,
    grid: Path,
    alone: dict[str, dict],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    out, done, killed = tmp_path / "run", [], []

    def hear(cell: Cell, record: CellRecord) -> None:
        done.append(cell)
        assert record.node
        if not killed and kill_a_busy_worker():
            killed.append("worker")
        elif killed == ["worker"]:
            killed.append("node")
            cluster.remove_node(third, allow_graceful=False)

    settings = RunSettings(ray=cluster.address, store="memory://models")
    third = cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    counts = run(read_config(grid), out, settings, on_cell=hear)
    assert killed == ["worker", "node"]
    assert counts == {"done": len(alone), "failed": 0}
    assert len(set(done)) == len(done) == len(alone)  # each told once
    assert results(out) == alone


def test_a_driver_that_was_killed_goes_on_with_the_same_command(
    cluster: Any,
    grid: Path,
    hold: Path,
    alone: dict[str, dict],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "run"
    hold.touch()
    command = ["benchmark", str(grid), "--out", str(out), "--ray", cluster.address, "--json-lines"]
    command += ["--store", f"file://{tmp_path}/store"]
    with subprocess.Popen(
        [sys.executable, "-c", CODE, *command], cwd=ROOT, stdout=subprocess.DEVNULL
    ) as first:
        try:
            wait_for_cells(out, 2, first)
            # A model is larger than the figures of its cells, and may reach the driver after them.
            wait_for_files(tmp_path / "store", "attacks", 1, first)
        finally:
            first.send_signal(signal.SIGKILL)
            hold.unlink()
    before = {path: path.stat().st_mtime_ns for path in (out / "cells").glob("*.json")}
    assert 2 <= len(before) < len(alone)
    kept = list((tmp_path / "store").glob("attacks/*.json"))
    assert kept
    made = [path.stat().st_mtime_ns for path in kept]
    assert main(command) == 0
    *cells, counts = map(json.loads, capsys.readouterr().out.splitlines())
    assert counts == {"done": len(alone), "failed": 0, "out": str(out)}
    assert len(cells) == len(alone) - len(before)
    assert all(each["status"] == "done" and each["node"] and "acc" in each for each in cells)
    assert {path: path.stat().st_mtime_ns for path in before} == before  # none ran twice
    assert [path.stat().st_mtime_ns for path in kept] == made
    assert results(out) == alone


@pytest.mark.usefixtures("connection")
def test_cells_that_raise_die_or_hang_are_failures_with_their_node(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(driver, "RETRIES", 0)
    out, said = tmp_path / "run", {}

    def hear(cell: Cell, record: CellRecord) -> None:
        said[cell.policy] = record

    settings = RunSettings(ray=cluster.address, plugins=(plugin.__name__,))
    two = read_config(write_grid(tmp_path, ["raises", "dies"]))
    assert run(two, out, settings, on_cell=hear) == {"done": 3, "failed": 2}
    hangs = read_config(write_grid(tmp_path, ["hangs"]))
    counts = run(hangs, out, replace(settings, limit_s=3), on_cell=hear)
    assert counts == {"done": 3, "failed": 1}
    assert "RuntimeError: no luck" in said["raises"].error
    assert "WorkerCrashedError" in said["dies"].error
    assert "longer than 3 s" in said["hangs"].error
    assert all(record.node for record in said.values())

    one = read_config(write_grid(tmp_path, ["raises"]))
    again: list[str] = []
    for retry in (False, True):
        run(
            one,
            out,
            replace(settings, retry_failed=retry),
            on_cell=lambda cell, _: again.append(cell.policy),
        )
    assert again == ["raises"]  # where it was asked for


def test_an_address_that_does_not_answer_is_given_up(
    grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(connecting, "ANSWER_S", 5.0)
    started = time.monotonic()
    command = ["benchmark", str(grid), "--out", str(tmp_path / "run"), "--ray", "127.0.0.1:1"]
    assert main(command) == 2
    assert time.monotonic() - started < 60
    assert "No Ray cluster can be reached at 127.0.0.1:1" in capsys.readouterr().err


def test_a_node_with_another_version_is_refused(
    cluster: Any, grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    shutil.copytree(ROOT / "prune_env", tmp_path / "other" / "prune_env")
    errors = tmp_path / "other" / "prune_env" / "errors.py"
    errors.write_text(errors.read_text() + "\n# another version\n")
    monkeypatch.chdir(tmp_path)  # Ray lets workers import from where the driver stands
    node = cluster.add_node(**NODE, env_vars={"PYTHONPATH": str(tmp_path / "other")})
    try:
        cluster.wait_for_nodes()
        with pytest.raises(StateError, match="another version of prune-env"):
            run(read_config(grid), tmp_path / "run", RunSettings(ray=cluster.address))
    finally:
        cluster.remove_node(node)
    assert not list(tmp_path.glob("run/cells/*"))


def test_a_node_that_has_just_died_is_not_asked_for_its_version(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connecting.connected(cluster.address) as module:
        gone = cluster.add_node(**NODE)
        cluster.wait_for_nodes()
        answers = [module.nodes()]  # what the head still says, a moment after
        cluster.remove_node(gone, allow_graceful=False)
        now = module.nodes

        def nodes() -> list[dict[str, Any]]:
            return answers.pop() if answers else now()

        monkeypatch.setattr(module, "nodes", nodes)
        connecting.check_nodes(module, connecting.ONE_CORE)
        assert not answers


def test_what_no_machine_offers_is_answered_at_once(
    cluster: Any, grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    greedy = tmp_path / "grid.toml"
    greedy.write_text(grid.read_text() + "\n[resources]\nnum_cpus = 64\n")
    with pytest.raises(SettingsError, match="No machine of the cluster"):
        run(read_config(greedy), tmp_path / "run", RunSettings(ray=cluster.address))


@pytest.mark.usefixtures("connection")
def test_trials_side_by_side_end_as_one_after_the_other(cluster: Any, tmp_path: Path) -> None:
    """In many short tasks, of which one dies."""
    base = TrainSettings(
        algorithm="epsilon-greedy",
        env="prune_env/Landscape-v0",
        env_arguments={"model": "landscape:layers=2,heads=4,seed=1"},
        total_steps=200,
        test_every=5,
    )
    trials = make_trials(base, (0, 1), {"learning_rate": (0.001, 0.003)})
    train_trials(trials, tmp_path / "alone")
    killed = []

    def kill() -> None:
        end = time.monotonic() + 100
        while not killed and time.monotonic() < end:
            if kill_a_busy_worker():
                killed.append(True)
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    side_by_side = SideBySide(cluster.address, pause_s=0.15)
    results = train_trials(trials, tmp_path / "ray", cluster=side_by_side)
    thread.join()
    assert killed
    assert [result.status for result in results] == ["done"] * 4, results
    assert all(result.node and result.heads_pruned for result in results)
    for trial in trials:
        for name in ("best.json", "best_met.json", "settings.json"):
            one, other = (
                json.loads((tmp_path / out / trial.name / name).read_text())
                for out in ("alone", "ray")
            )
            assert one == other, (trial.name, name)
    more = make_trials(base, (0, 1, 2), {"learning_rate": (0.001,)})
    heard: list[str] = []
    train_trials(
        more,
        tmp_path / "ray",
        resume=True,
        cluster=side_by_side,
        on_result=lambda result: heard.append(result.name),
    )
    assert heard == [more[2].name]
