import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from prune_env.benchmark.cell import Cell
from prune_env.benchmark.config import read_config
from prune_env.benchmark.report import write_report
from prune_env.benchmark.runner import RunSettings, run_benchmark
from prune_env.benchmark.store import Store
from prune_env.data.loading import load_data
from tests.benchmark import plugin
from tests.benchmark.support import write_grid

ROOT = Path(__file__).parents[2]
CODE = "import sys; from prune_env.cli import main; sys.exit(main(sys.argv[1:]))"


def results(folder: Path) -> dict[str, dict]:
    """Return what the cells found, by key, without what differs between equal runs."""
    out = {}
    for path in (folder / "cells").glob("*.json"):
        value = json.loads(path.read_text())
        assert value["status"] == "done", value
        found = value["found"] and {**value["found"], "seconds": 0}
        out[path.stem] = ({**value["row"], "seconds": 0}, found)
    return out


def begin(grid: Path, out: Path) -> subprocess.Popen:
    arguments = ["benchmark", str(grid), "--out", str(out), "--threads", "1"]
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


def wait_for_cells(out: Path, count: int) -> None:
    end = time.monotonic() + 200
    while len(list((out / "cells").glob("*.json"))) < count:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_run_that_was_interrupted_and_killed_ends_with_the_results_of_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So many cells that the kill cannot come after the last one, however fast the machine.
    policies = ["gradient", "greedy", "random", "magnitude", "gate-gradient", "evolution"]
    grid = write_grid(tmp_path, policies, (0, 1), ("direct", "refinetune"))
    config = read_config(grid)
    clean = load_data(config.data)
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache-1"))
    unbroken = run_benchmark(config, clean, tmp_path / "unbroken", RunSettings(threads=1))
    assert unbroken == {"done": len(config.cells()), "failed": 0}

    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache-2"))
    out = tmp_path / "broken"
    interrupted = begin(grid, out)
    wait_for_cells(out, 1)
    workers = psutil.Process(interrupted.pid).children(recursive=True)
    assert workers
    interrupted.send_signal(signal.SIGINT)
    _, messages = interrupted.communicate(timeout=100)
    assert interrupted.returncode == 128 + signal.SIGINT, messages
    assert "Traceback" not in messages
    assert psutil.wait_procs(workers, timeout=100)[1] == []
    assert not list(tmp_path.rglob(".*.json.*"))

    killed = begin(grid, out)
    wait_for_cells(out, 3)
    workers = psutil.Process(killed.pid).children(recursive=True)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    # Workers do not outlive their parent.
    assert psutil.wait_procs(workers, timeout=100)[1] == []
    before = {path: path.stat().st_mtime_ns for path in (out / "cells").glob("*.json")}
    assert len(before) < len(config.cells())

    reported: list[Cell] = []
    counts = run_benchmark(
        config, clean, out, RunSettings(threads=1), on_cell=lambda cell, _: reported.append(cell)
    )
    assert counts == unbroken
    assert len(reported) == len(config.cells()) - len(before)
    assert {path: path.stat().st_mtime_ns for path in before} == before  # none ran twice
    assert results(out) == results(tmp_path / "unbroken")

    again: list[Cell] = []
    run_benchmark(config, clean, out, on_cell=lambda cell, _: again.append(cell))
    assert again == []


def test_cells_that_raise_die_or_hang_are_failures_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    config = read_config(write_grid(tmp_path, ["raises", "dies", "random"]))
    clean, out = load_data(config.data), tmp_path / "run"
    settings = RunSettings(threads=1, plugins=(plugin.__name__,))
    said: dict[str, str] = {}

    def hear(cell: Cell, result: dict) -> None:
        said[cell.policy] = result.get("error", "")

    counts = run_benchmark(config, clean, out, settings, on_cell=hear)
    assert counts == {"done": 4, "failed": 2}
    assert "RuntimeError: no luck" in said["raises"]
    assert "status -9" in said["dies"]
    assert said["random"] == said["ft"] == ""

    more = read_config(write_grid(tmp_path, ["raises", "dies", "random", "hangs"]))
    counts = run_benchmark(more, clean, out, replace(settings, limit_s=3), on_cell=hear)
    assert counts == {"done": 4, "failed": 3}
    assert "longer than 3 s" in said["hangs"]

    report = write_report(out).read_text()
    for policy in ("raises", "dies", "hangs"):
        line = next(line for line in report.splitlines() if line.startswith(f"| {policy} "))
        assert "failed" in line
        assert "0.0" not in line
    assert "no luck" in report.partition("## Failed")[2]


def test_a_cell_is_claimed_by_one_process(tmp_path: Path) -> None:
    store = Store(tmp_path)
    code = (
        "import sys; from pathlib import Path; from prune_env.benchmark.store import Store\n"
        "with Store(Path(sys.argv[1])).claim('a') as free:\n    sys.exit(10 + free)"
    )

    def other() -> int:
        command = [sys.executable, "-c", code, str(tmp_path)]
        return subprocess.run(command, cwd=ROOT, check=False, env=dict(os.environ)).returncode

    with store.claim("a") as free:
        assert free
        assert other() == 10
        with store.claim("a") as second, store.claim("b") as elsewhere:
            assert (second, elsewhere) == (False, True)
    assert other() == 11
