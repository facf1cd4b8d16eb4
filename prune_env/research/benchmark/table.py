"""Lines of one attack as a Markdown table."""

from collections.abc import Sequence

import numpy as np

from prune_env.research.benchmark.cell import REFERENCES
from prune_env.research.benchmark.summary import Line, best
from prune_env.utils.escape import markdown

COLUMNS = {
    "ACC": "acc",
    "LFR": "lfr",
    "excess": "excess_lfr",
    "ACC cal": "acc_calibrated",
    "LFR cal": "lfr_calibrated",
    "excess cal": "excess_lfr_calibrated",
}
TREATED = {"excess cal, treated": "excess_over_treated_benign"}
"""Shown where a defence of the table was tried on the benign model too."""


def table(lines: Sequence[Line]) -> str:
    """Return the lines of one attack as a Markdown table."""
    columns = dict(COLUMNS)
    if any(line.contends and line.values(name) for line in lines for name in TREATED.values()):
        columns |= TREATED
    bold = {name: best(lines, name) for name in columns.values()}
    head = ("policy", "protocol", *columns, "pruned", "evals", "time", "seeds")
    rule = ("---", "---", *["--:"] * (len(head) - 2))
    rows = [head, rule, *(_cells(line, bold) for line in order(lines))]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def order(lines: Sequence[Line]) -> list[Line]:
    """Return references first, oracles last, and the others in the order of the grid."""
    return sorted(lines, key=_section)


def _section(line: Line) -> int:
    return -1 if line.cell.policy in REFERENCES else int(line.oracle)


def _cells(line: Line, bold: dict[str, Line | None]) -> list[str]:
    name = markdown(line.policy)
    if line.oracle:
        name += ", ceiling"
    name = name if line.contends else f"*{name}*"
    seeds = str(len(line.rows))
    if line.failed:
        seeds += f", {len(line.failed)} failed"
    if not line.rows:
        return [name, line.protocol, *["failed"] * len(bold), "-", "-", "-", seeds]
    figures = [
        f"**{_figure(line, column)}**" if leader is line else _figure(line, column)
        for column, leader in bold.items()
    ]
    total = line.rows[0].heads_total
    pruned = f"{line.mean('heads_pruned'):.0f}/{total}" if line.protocol else "-"
    evaluations = f"{line.mean('evaluations'):.0f}" if line.protocol else "-"
    seconds = f"{line.mean('seconds'):.0f} s"
    return [name, line.protocol, *figures, pruned, evaluations, seconds, seeds]


def _figure(line: Line, column: str) -> str:
    mean, spread = line.mean(column), line.spread(column)
    if np.isnan(mean):
        return "-"
    # The z: what rounds to nothing has no sign, as everywhere where a figure may fall below 0.
    return f"{mean:z.1f}" if np.isnan(spread) else f"{mean:z.1f} ± {spread:.1f}"
