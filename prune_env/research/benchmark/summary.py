"""From result files to lines of a table: mean and spread over seeds, and what beats noise."""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ttest_rel

from prune_env.errors import StateError
from prune_env.research.benchmark.cell import ORACLES, REFERENCES
from prune_env.research.benchmark.rows import Row
from prune_env.research.benchmark.store import PLAN, Store
from prune_env.settings import SearchSettings
from prune_env.utils.files import read_json, shaped

SIGNIFICANCE = 0.05
NORMAL_95 = 1.96
FIGURES = [each.name for each in fields(Row) if each.default is MISSING]
LOWER_IS_BETTER = ("lfr", "excess_lfr", "lfr_calibrated", "excess_lfr_calibrated")


@dataclass(frozen=True)
class Entry:
    """One planned cell and its result.

    Attributes:
        key: Address of its result.
        name: In words.
        cell: Plain values of the `Cell`.
        result: Content of the result file; None if it was not run yet.
    """

    key: str
    name: str
    cell: dict[str, Any]
    result: dict[str, Any] | None

    @property
    def row(self) -> dict[str, Any] | None:
        """The figures; None if the cell failed or was not run."""
        return None if self.result is None else self.result.get("row")

    @property
    def attack(self) -> str:
        """Name of the attack."""
        return str(self.cell["models"]["attack"]["attack"])

    @property
    def seed(self) -> int:
        """Seed of the models."""
        return int(self.cell["models"]["seed"])


@dataclass(frozen=True)
class Line:
    """The cells that differ in their seed alone.

    Attributes:
        entries: At least one.
    """

    entries: tuple[Entry, ...]

    @property
    def cell(self) -> dict[str, Any]:
        """Plain values of the first cell."""
        return self.entries[0].cell

    @property
    def policy(self) -> str:
        """Name of the policy, with its variant unless that is the paper's, and its reward."""
        search = self.cell["search"]
        names = (search["variant"], search["reward"])
        special = [name for name in names if name not in ("paper", SearchSettings.reward)]
        return " ".join([self.cell["policy"], *(f"({name})" for name in special)])

    @property
    def protocol(self) -> str:
        """Protocol, with its healing if there is one; empty where no head goes."""
        protocol, healing = self.cell["protocol"], self.cell["healing"]
        if protocol == "none":
            return ""
        return str(protocol) if healing == "none" else f"{protocol}, heal {healing}"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Figures of the cells that are done."""
        return [entry.row for entry in self.entries if entry.row is not None]

    @property
    def failed(self) -> list[Entry]:
        """Cells that failed."""
        return [each for each in self.entries if each.result is not None and each.row is None]

    @property
    def contends(self) -> bool:
        """Whether the line is a defence, which may be called the best."""
        return self.cell["policy"] not in (*REFERENCES, *ORACLES)

    def values(self, name: str) -> dict[int, float]:
        """Return a figure by seed, without the seeds for which it is undefined."""
        return {row["seed"]: row[name] for row in self.rows if row[name] is not None}

    def mean(self, name: str) -> float:
        """Return the mean of a figure over seeds; NaN if there is none."""
        values = list(self.values(name).values())
        return float(np.mean(values)) if values else float("nan")

    def spread(self, name: str) -> float:
        """Return the standard deviation (n - 1) of a figure over seeds; NaN for a single one."""
        values = list(self.values(name).values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


@dataclass(frozen=True)
class Results:
    """A run folder, read.

    Attributes:
        folder: The run folder.
        config: The grid, as plain values.
        entries: Planned cells in order.
    """

    folder: Path
    config: dict[str, Any]
    entries: tuple[Entry, ...] = field(default_factory=tuple)

    @property
    def attacks(self) -> list[str]:
        """Names of the attacks, in order."""
        return list(dict.fromkeys(entry.attack for entry in self.entries))

    @property
    def waiting(self) -> list[Entry]:
        """Cells that were not run yet."""
        return [entry for entry in self.entries if entry.result is None]

    @property
    def failed(self) -> list[Entry]:
        """Cells that failed."""
        return [each for each in self.entries if each.result is not None and each.row is None]

    def lines(self, keep: Callable[[Entry], bool] = lambda entry: True) -> list[Line]:
        """Return the lines of the cells that were tried, in the order of the grid.

        Args:
            keep: Which cells count.
        """
        groups: dict[str, list[Entry]] = {}
        for entry in self.entries:
            if entry.result is not None and keep(entry):
                groups.setdefault(_without_seed(entry.cell), []).append(entry)
        return [Line(tuple(group)) for group in groups.values()]


def read_results(folder: Path) -> Results:
    """Read a run folder of `prune-env benchmark`; the run may still be going on.

    Raises:
        StateError: It is no such folder, or a file is damaged.
    """
    plan = read_json(folder / PLAN)
    if not isinstance(plan, dict) or not {"config", "cells"} <= set(plan):
        raise StateError(
            f"{folder / PLAN} is no plan of a benchmark",
            remedy="run `prune-env benchmark` with this folder again",
        )
    store = Store(folder)
    with shaped(
        folder / PLAN, "the plan of a benchmark with its results", "run the benchmark again"
    ):
        entries = [
            Entry(**each, result=store.read(each["key"]) if store.has(each["key"]) else None)
            for each in plan["cells"]
        ]
        for entry in entries:
            _check(entry)
        return Results(folder, dict(plan["config"]), tuple(entries))


def best(lines: Sequence[Line], name: str) -> Line | None:
    """Return the best defence, if it is better than the next by more than noise.

    It must beat the next best (a) over seeds, by a paired two-sided t-test with p < 0.05 on the
    seeds that both have, and (b) over test sentences, by more than 1.96 standard errors of a
    difference between two shares. (a) tells chance in the training apart, (b) chance in the
    choice of the test sentences, which all seeds share.

    Args:
        lines: Of one attack.
        name: A figure of `Row`.
    """
    sign = -1 if name in LOWER_IS_BETTER else 1
    rivals = [line for line in lines if line.contends and line.values(name)]
    if len(rivals) < 2:
        return None
    first, second, *_ = sorted(rivals, key=lambda line: -sign * line.mean(name))
    return first if _beats(first, second, name, sign) else None


def _beats(first: Line, other: Line, name: str, sign: int) -> bool:
    mine, theirs = first.values(name), other.values(name)
    seeds = sorted(set(mine) & set(theirs))
    if len(seeds) < 2:
        return False
    gains = [sign * (mine[seed] - theirs[seed]) for seed in seeds]
    gain = float(np.mean(gains))
    if gain <= float(np.hypot(_sampling_error(first, name), _sampling_error(other, name))):
        return False
    if np.ptp(gains) == 0:  # the t-test divides by the spread
        return True
    return bool(
        ttest_rel([mine[s] for s in seeds], [theirs[s] for s in seeds]).pvalue < SIGNIFICANCE
    )


def _sampling_error(line: Line, name: str) -> float:
    """Return 1.96 standard errors of a share, in points: half its Wilson interval."""
    interval = "acc_interval" if name.startswith("acc") else "lfr_interval"
    widths = [row[interval][1] - row[interval][0] for row in line.rows if row[interval]]
    return float(np.mean(widths)) / 2 if widths else 0.0


def _check(entry: Entry) -> None:
    """Ask an entry for what a report asks it for, so that what it lacks is found at once."""
    line = Line((entry,))
    _ = entry.attack, entry.seed, line.policy, line.protocol, _without_seed(entry.cell)
    _ = entry.cell["target"], entry.cell["search"]["tau"]
    if entry.row is not None and entry.result is not None:
        _ = dict(entry.result["meta"]), [entry.row[name] for name in FIGURES]


def _without_seed(cell: dict[str, Any]) -> str:
    models = {name: value for name, value in cell["models"].items() if name != "seed"}
    models["attack"] = {**models["attack"], "seed": None}
    return repr({**cell, "models": models})


COLUMNS = {
    "ACC": "acc",
    "LFR": "lfr",
    "excess": "excess_lfr",
    "ACC cal": "acc_calibrated",
    "LFR cal": "lfr_calibrated",
    "excess cal": "excess_lfr_calibrated",
}


def table(lines: Sequence[Line]) -> str:
    """Return the lines of one attack as a Markdown table."""
    bold = {name: best(lines, name) for name in COLUMNS.values()}
    head = ("policy", "protocol", *COLUMNS, "pruned", "evals", "time", "seeds")
    rule = ("---", "---", *["--:"] * (len(head) - 2))
    rows = [head, rule, *(_cells(line, bold) for line in sorted(lines, key=_section))]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _section(line: Line) -> int:
    """References first, oracles last, else the order of the grid."""
    policy = line.cell["policy"]
    return -1 if policy in REFERENCES else int(policy in ORACLES)


def _cells(line: Line, bold: dict[str, Line | None]) -> list[str]:
    name = line.policy
    if line.cell["policy"] in ORACLES:
        name += ", ceiling"
    name = name if line.contends else f"*{name}*"
    seeds = str(len(line.rows))
    if line.failed:
        seeds += f", {len(line.failed)} failed"
    if not line.rows:
        return [name, line.protocol, *["failed"] * len(COLUMNS), "-", "-", "-", seeds]
    figures_ = [
        f"**{text}**" if bold[column] is line else text
        for column, text in ((column, _figure(line, column)) for column in COLUMNS.values())
    ]
    total = line.rows[0]["heads_total"]
    pruned = f"{line.mean('heads_pruned'):.0f}/{total}" if line.protocol else "-"
    evaluations = f"{line.mean('evaluations'):.0f}" if line.protocol else "-"
    return [
        name,
        line.protocol,
        *figures_,
        pruned,
        evaluations,
        f"{line.mean('seconds'):.0f} s",
        seeds,
    ]


def _figure(line: Line, column: str) -> str:
    mean, spread = line.mean(column), line.spread(column)
    if np.isnan(mean):
        return "-"
    return f"{mean:.1f}" if np.isnan(spread) else f"{mean:.1f} ± {spread:.1f}"
