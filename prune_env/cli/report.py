"""`prune-env report`: tables and figures of a benchmark."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from prune_env.cli.options import facts, show


@dataclass(frozen=True)
class Report:
    """Write the tables and figures of a benchmark.

    They are put into RUN, a run folder of `prune-env benchmark`, as `report.md` with its figures,
    and as CSV and LaTeX. The run may still be going on: the report is on the cells that have a
    result, and lists those that failed and those that were not run.

    Attributes:
        run_folder: The run folder.
        json: Print the counts as JSON.
    """

    run_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    json: bool = False

    def run(self) -> None:
        """Write the report."""
        from prune_env.research.benchmark.report import write_report
        from prune_env.research.benchmark.results import read_results

        path = write_report(self.run_folder)
        results = read_results(self.run_folder)
        counts = {
            "cells": len(results.cells),
            "failed": len(results.failed),
            "not run": len(results.waiting),
        }
        show(
            self.json,
            {**counts, "report": str(path)},
            facts([(name, str(count)) for name, count in counts.items()] + [("report", str(path))]),
        )
