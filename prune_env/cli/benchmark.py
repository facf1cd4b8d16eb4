"""`prune-env benchmark`: attacks x policies x protocols x seeds, resumable."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from prune_env.cli.options import MachineOptions, TableOptions, facts, show
from prune_env.cli.watch.serve import beside
from prune_env.errors import SettingsError
from prune_env.utils.counts import count_of

if TYPE_CHECKING:
    from prune_env.research.benchmark.cell import Cell
    from prune_env.research.benchmark.record import CellRecord
    from prune_env.research.benchmark.runner import RunSettings


@dataclass(frozen=True)
class Benchmark:
    """Run a grid: attacks x policies x protocols x seeds.

    Each cell has a result file of its own. CONFIG is a TOML file, or the name of a grid that comes
    with the package (`sst2`, `rotten-tomatoes`, `digits`). A run that was interrupted or killed
    goes on where it was: give the same command again. Then `prune-env report OUT` makes the tables
    and figures.

    Attributes:
        config: TOML file, or a name.
        out: Run folder; default: runs/ and the name of CONFIG.
        workers: Processes that work on cells side by side.
        threads: Threads of each; default: the cores divided by the workers. Another number may
            change the last digits of a training.
        limit_minutes: A cell that takes longer is stopped and marked failed.
        retry_failed: Run cells that failed before again.
        keep_models: Keep the model of every cell that is run, in OUT/models under the address of
            its result, so that `prune-env evaluate` can measure it on another trigger.
        store: Where backdoored, benign and fine-tuned models are kept for other machines too: a
            folder, or a URL that fsspec knows, such as `s3://bucket/models`.
        ray: Run the cells on a Ray cluster (extra `cluster`) in place of processes of this machine:
            its address, such as `10.0.0.1:6379`, or `local`. `[resources]` of the grid says what
            each task is given: `num_cpus`, `num_gpus`.
        json: Print the counts as JSON.
        json_lines: Print each cell as a line of JSON as it comes, and then the counts as one.
        watch: Show the run on a page of this machine while it goes on, see `prune-env watch`.
        tables: How tables are read.
    """

    config: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CONFIG")]
    out: Path | None = None
    workers: int = 1
    threads: int | None = None
    limit_minutes: float = 240.0
    retry_failed: bool = False
    keep_models: bool = False
    store: str | None = None
    ray: str | None = None
    json: bool = False
    json_lines: bool = False
    watch: bool = False
    tables: TableOptions = field(default_factory=TableOptions)

    def run(self) -> int:
        """Run every cell that has no result yet, a line a cell as it comes; 2 if none is done."""
        from rich.markup import escape

        from prune_env.research.benchmark.config import find_config, read_config
        from prune_env.research.benchmark.plan import PLAN
        from prune_env.research.benchmark.runner import run_benchmark
        from prune_env.utils.full_disk import disk_told
        from prune_env.utils.output import check_writable
        from prune_env.utils.progress import tell

        path = find_config(self.config)
        config = read_config(path)
        out = self.out or Path("runs") / path.stem
        settings = self._settings()
        clean = self.tables.load_splits(config.data)
        config = config.for_labels(clean.train.label_names)
        cells = config.cells()  # a wrong name is answered before anything is written
        sources = self.tables.attack_sources(config.attacks)
        check_writable(out / PLAN)
        tell(escape(f"{count_of(len(cells), 'cell')}, results in {out}"))

        def on_cell(cell: "Cell", record: "CellRecord") -> None:
            if self.json_lines:
                print(json.dumps({"cell": str(cell), **record.told()}), flush=True)
            else:
                tell(_line(cell, record))

        kept = "Cells that are done stay; the same command goes on."
        with disk_told(out, lambda: kept), beside(out, self.watch):
            counts = run_benchmark(
                config,
                clean,
                out,
                settings,
                sources=sources,
                on_cell=on_cell,
            )
        status = 0 if counts["done"] else 2
        told = {**counts, "out": str(out)}
        if self.json_lines:
            print(json.dumps(told))
            return status
        again = " (--retry-failed runs them again)" if counts["failed"] else ""
        rows = [
            ("cells done", str(counts["done"])),
            ("cells failed", f"{counts['failed']}{again}"),
            ("next", f"prune-env report {out}"),
        ]
        show(self.json, told, facts(rows))
        return status

    def _settings(self) -> "RunSettings":
        from prune_env.research.benchmark.runner import RunSettings

        if not self.limit_minutes > 0:  # it would be called limit_s
            raise SettingsError(
                "limit_minutes is out of range", expected="> 0", actual=self.limit_minutes
            )
        MachineOptions(self.threads)  # more than a system starts would fail every cell
        return RunSettings(
            workers=self.workers,
            threads=self.threads,
            limit_s=60 * self.limit_minutes,
            retry_failed=self.retry_failed,
            keep_models=self.keep_models,
            store=self.store,
            ray=self.ray,
        )


def _line(cell: "Cell", record: "CellRecord") -> str:
    """Return what is told of a cell: its figures, or where and why it failed."""
    from rich.markup import escape

    where, row = escape(f" on {record.node}" if record.node else ""), record.row
    if row is None:
        return f"{escape(str(cell))}: [red]failed[/]{where} {escape(str(record.error))}"
    flipped = "" if row.lfr is None else f", LFR {row.lfr:.1f}"
    return f"{escape(str(cell))}: ACC {row.acc:.1f}{flipped}  [dim]{row.seconds:.0f} s{where}[/]"
