"""From results of cells to lines of a table: mean and spread over seeds, and what beats noise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import ttest_rel

from prune_env.research.benchmark.cell import ORACLES, REFERENCES, Cell
from prune_env.research.benchmark.record import CellRecord
from prune_env.research.benchmark.rows import ResultRow, minus
from prune_env.settings import SearchSettings

SIGNIFICANCE = 0.05
LOWER_IS_BETTER = (
    "lfr",
    "excess_lfr",
    "lfr_calibrated",
    "excess_lfr_calibrated",
    "excess_over_treated_benign",
)


@dataclass(frozen=True, eq=False)
class CellOutcome:
    """One planned cell and what came of it.

    Attributes:
        key: Address of its result.
        name: In words.
        cell: What was asked for.
        record: What its file tells; None if it was not run yet.
        treated_benign: Figures of the benign model of the same seed under the same defence, on
            the same texts; None where that was not run.
    """

    key: str
    name: str
    cell: Cell
    record: CellRecord | None
    treated_benign: ResultRow | None = None

    @property
    def row(self) -> ResultRow | None:
        """The figures; None if the cell failed or was not run."""
        return None if self.record is None else self.record.row

    @property
    def failed(self) -> bool:
        """Whether the cell was run in vain."""
        return self.record is not None and self.record.row is None

    @property
    def oracle(self) -> bool:
        """Whether its masks were chosen by the trigger: searched by it, or learned from it."""
        learned = self.record is not None and self.record.oracle
        return self.cell.policy in ORACLES or learned

    @property
    def attack(self) -> str:
        """Name of the attack, with its rate unless that is as published."""
        return self.cell.models.attack.title

    @property
    def seed(self) -> int:
        """Seed of the models."""
        return self.cell.models.seed

    def figure(self, name: str) -> float | None:
        """Return a figure; None where it is undefined.

        Args:
            name: Of a number of `ResultRow`; or `excess_over_treated_benign`, the calibrated LFR
                minus that of the benign model under the same defence.
        """
        if self.row is None:
            return None
        if name == "excess_over_treated_benign":
            treated = self.treated_benign
            floor = None if treated is None else treated.lfr_calibrated
            return minus(self.row.lfr_calibrated, floor)
        value: float | None = getattr(self.row, name)
        return value

    def sampling_error(self, name: str) -> float | None:
        """Return 1.96 standard errors of a figure, in points: half its Wilson interval."""
        if self.row is None:
            return None
        own = _half(_interval_of(self.row, name))
        if name != "excess_over_treated_benign" or own is None or self.treated_benign is None:
            return own
        return float(np.hypot(own, _half(_interval_of(self.treated_benign, name)) or 0.0))


@dataclass(frozen=True, eq=False)
class Line:
    """The cells that differ in their seed alone.

    Attributes:
        cells: At least one.
    """

    cells: tuple[CellOutcome, ...]

    @property
    def cell(self) -> Cell:
        """The first cell."""
        return self.cells[0].cell

    @property
    def policy(self) -> str:
        """Name of the policy, with its variant unless that is the paper's, and its reward."""
        search = self.cell.search
        names = (search.variant, search.reward)
        special = [name for name in names if name not in ("paper", SearchSettings.reward)]
        return " ".join([self.cell.policy, *(f"({name})" for name in special)])

    @property
    def protocol(self) -> str:
        """Protocol, with its healing if there is one; empty where no head goes."""
        protocol, healing = self.cell.protocol, self.cell.healing
        if protocol == "none":
            return ""
        return protocol if healing == "none" else f"{protocol}, heal {healing}"

    @property
    def rows(self) -> list[ResultRow]:
        """Figures of the cells that are done."""
        return [each.row for each in self.cells if each.row is not None]

    @property
    def failed(self) -> list[CellOutcome]:
        """Cells that failed."""
        return [each for each in self.cells if each.failed]

    @property
    def oracle(self) -> bool:
        """Whether the trigger chose the masks of a cell, so that the line is a ceiling."""
        return any(each.oracle for each in self.cells)

    @property
    def contends(self) -> bool:
        """Whether the line is a defence, which may be called the best."""
        return self.cell.policy not in REFERENCES and not self.oracle

    def values(self, name: str) -> dict[int, float]:
        """Return a figure by seed, without the seeds for which it is undefined."""
        figures = {each.seed: each.figure(name) for each in self.cells}
        return {seed: value for seed, value in figures.items() if value is not None}

    def mean(self, name: str) -> float:
        """Return the mean of a figure over seeds; NaN if there is none."""
        values = list(self.values(name).values())
        return float(np.mean(values)) if values else float("nan")

    def spread(self, name: str) -> float:
        """Return the standard deviation (n - 1) of a figure over seeds; NaN for a single one."""
        values = list(self.values(name).values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")

    def sampling_error(self, name: str) -> float:
        """Return the mean over seeds of 1.96 standard errors of a figure; 0 if unknown."""
        errors = [each.sampling_error(name) for each in self.cells]
        known = [error for error in errors if error is not None]
        return float(np.mean(known)) if known else 0.0


def in_lines(cells: Sequence[CellOutcome]) -> list[Line]:
    """Return cells by line, in their order."""
    groups: dict[Cell, list[CellOutcome]] = {}
    for each in cells:
        groups.setdefault(_without_seed(each.cell), []).append(each)
    return [Line(tuple(group)) for group in groups.values()]


def best(lines: Sequence[Line], name: str) -> Line | None:
    """Return the best defence, if it is better than the next by more than noise.

    It must beat the next best (a) over seeds, by a paired two-sided t-test with p < 0.05 on the
    seeds that both have, and (b) over test sentences, by more than 1.96 standard errors of a
    difference between two shares. (a) tells chance in the training apart, (b) chance in the
    choice of the test sentences, which all seeds share.

    Args:
        lines: Of one attack.
        name: A figure of `CellOutcome`.
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
    noise = np.hypot(first.sampling_error(name), other.sampling_error(name))
    if float(np.mean(gains)) <= float(noise):
        return False
    if np.ptp(gains) == 0:  # the t-test divides by the spread
        return True
    return bool(
        ttest_rel([mine[s] for s in seeds], [theirs[s] for s in seeds]).pvalue < SIGNIFICANCE
    )


def _interval_of(row: ResultRow, name: str) -> tuple[float, float] | None:
    """Return the interval of the share that a figure is made of."""
    plain, calibrated = row.lfr_interval, row.lfr_calibrated_interval
    if name.startswith("acc"):
        plain, calibrated = row.acc_interval, row.acc_calibrated_interval
    if not name.endswith("calibrated") and name != "excess_over_treated_benign":
        return plain
    return calibrated or plain  # which older results do not hold


def _half(interval: tuple[float, float] | None) -> float | None:
    return None if interval is None else (interval[1] - interval[0]) / 2


def _without_seed(cell: Cell) -> Cell:
    models = replace(cell.models, seed=0, attack=replace(cell.models.attack, seed=0))
    return replace(cell, models=models)
