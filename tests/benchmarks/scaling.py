"""What a grid costs on Ray against processes of one machine, and what a worker holds.

Run it as `python -m tests.benchmarks.scaling overhead --out FOLDER`, or `memory`. Tiny models, real
cells. Nothing is asserted. Processor time is counted beside wall time, for a machine that does
other things tells little by its clock. A way that was measured is not measured again.
"""

import gc
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
import tyro

from prune_env.data.loading import load_data
from prune_env.models import load_classifier
from prune_env.models.forward import classify
from prune_env.research.benchmark.config import BenchmarkConfig, read_config
from prune_env.research.benchmark.outcome import run_cell
from prune_env.research.benchmark.runner import RunSettings, run_benchmark
from prune_env.research.benchmark.workbench import Workbench
from prune_env.utils.files import write_json
from prune_env.utils.memory import give_back
from tests.research.benchmark.support import write_grid

MIB = 2**20


@dataclass
class Cost:
    """What a run took.

    Attributes:
        wall_s: By the clock.
        processor_s: Of the run and its children.
        load: Of the machine at the end, over a minute.
        cells: How many were run.
        peak_mib: The most memory that one process held.
    """

    wall_s: float = 0.0
    processor_s: float = 0.0
    load: float = 0.0
    cells: int = 0
    peak_mib: float = 0.0


@contextmanager
def counted() -> Iterator[Cost]:
    """Count what the body and the processes that it starts take."""
    cost, ended, times = Cost(), threading.Event(), {}
    own = psutil.Process()

    def look() -> None:
        while not ended.wait(0.2):
            for process in (own, *own.children(recursive=True)):
                try:
                    used = process.cpu_times()
                    times[process.pid, process.create_time()] = used.user + used.system
                    cost.peak_mib = max(cost.peak_mib, process.memory_info().rss / MIB)
                except psutil.Error:
                    continue

    thread, started = threading.Thread(target=look, daemon=True), time.perf_counter()
    before = sum(own.cpu_times()[:2])
    thread.start()
    yield cost
    cost.wall_s = time.perf_counter() - started
    ended.set()
    thread.join()
    cost.processor_s = sum(times.values()) - before
    cost.load = os.getloadavg()[0]


def tiny_grid(folder: Path, seeds: int) -> BenchmarkConfig:
    """Return a grid of six cells a seed."""
    path = write_grid(folder, ["random", "gradient", "magnitude"], tuple(range(seeds)))
    return read_config(path)


def overhead(out: Path, seeds: int) -> dict[str, Any]:
    """Run one grid in every way, each from nothing."""
    config = tiny_grid(out / "grid", seeds)
    ways: dict[str, tuple[RunSettings, int]] = {
        "processes, 1": (RunSettings(threads=1), 0),
        "Ray, 1": (RunSettings(threads=1, ray="local"), 1),
        "processes, 2": (RunSettings(threads=1, workers=2), 0),
        "Ray, 2": (RunSettings(threads=1, ray="local"), 2),
    }
    found: dict[str, Any] = {}
    for name, (settings, cores) in ways.items():
        kept = out / f"{name}.json"
        if not kept.exists():
            folder = out / name
            os.environ["PRUNE_ENV_CACHE"] = str(folder / "cache")
            with counted() as cost, ray_with(cores):
                counts = run_benchmark(config, load_data(config.data), folder, settings)
                cost.cells = counts["done"]
            write_json(kept, asdict(cost))
        found[name] = json.loads(kept.read_text())
    return found


@contextmanager
def ray_with(cores: int) -> Iterator[None]:
    """Start Ray with so many cores; 0 starts nothing."""
    if not cores:
        yield
        return
    import ray  # noqa: PLC0415 - an extra

    ray.init(
        address="local",
        num_cpus=cores,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200 * MIB,
    )
    try:
        yield
    finally:
        ray.shutdown()


def memory(out: Path, config: BenchmarkConfig, model: Path | None) -> dict[str, Any]:
    """Run cells in this process as a worker does, and look at what it holds after each."""
    bench = Workbench(load_data(config.data), out / "run", cache=out / "cache")
    torch.set_num_threads(1)
    after = []
    for cell in config.cells():
        run_cell(bench, cell)
        after.append(_held())
        write_json(out / "memory.json", after)
    found: dict[str, Any] = {"cells": after, "trimmed": _trimmed()}
    write_json(out / "memory.json", found)
    if model is not None:
        loads = []
        for _ in range(10):
            loaded = load_classifier(model, head="keep")
            classify(loaded.model, loaded.tokenizer, ["a film like no other"] * 64)
            loads.append(_held())
            del loaded
            gc.collect()
        found |= {"models": loads, "dropped": _held(), "dropped and trimmed": _trimmed()}
    write_json(out / "memory.json", found)
    return found


def _trimmed() -> dict[str, float]:
    give_back()
    return _held()


def _held() -> dict[str, float]:
    """Return MiB of the process, MiB of tensors that are alive, and open files."""
    process = psutil.Process()
    tensors = {}
    for each in gc.get_objects():
        if type(each) in (torch.Tensor, torch.nn.Parameter):
            with suppress(NotImplementedError):  # of kinds that have no memory of their own
                storage = each.untyped_storage()
                tensors[storage.data_ptr()] = storage.nbytes()
    return {
        "rss": round(process.memory_info().rss / MIB, 1),
        "tensors": round(sum(tensors.values()) / MIB, 1),
        "files": process.num_fds(),
    }


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        what: `overhead` or `memory`.
        out: Folder for the runs and the figures.
        seeds: Of the grid; each has six cells.
        grid: A grid file in place of the tiny one, for `memory`.
        model: A classifier that `memory` loads ten times, too.
    """

    what: tyro.conf.Positional[Literal["overhead", "memory"]]
    out: Path
    seeds: int = 8
    grid: Path | None = None
    model: Path | None = None


if __name__ == "__main__":
    options = tyro.cli(Options)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.what == "overhead":
        print(json.dumps(overhead(options.out, options.seeds), indent=2))
    else:
        given = options.grid and read_config(options.grid)
        config = given or tiny_grid(options.out / "grid", options.seeds)
        print(json.dumps(memory(options.out, config, options.model), indent=2))
