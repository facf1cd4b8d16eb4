"""The lines of one attack as CSV, for programs, and as LaTeX, for papers."""

import csv
import io
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from prune_env.research.benchmark.summary import Line
from prune_env.research.benchmark.table import COLUMNS, TREATED, order
from prune_env.utils.files import write_bytes

FIGURES = {**COLUMNS, **TREATED}
COSTS = {"pruned": "heads_pruned", "evals": "evaluations", "seconds": "seconds"}
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def stem(attack: str) -> str:
    """Return the name of an attack's files, which leaves no folder.

    Example:
        >>> stem("rare-word, rate 0.3"), stem("../../x")
        ('rare-word-rate-0.3', 'x')
    """
    return re.sub(r"[^\w.]+", "-", attack).strip("-.") or "attack"


def stems(attacks: Sequence[str]) -> dict[str, str]:
    """Return the name of the files of each attack; no two share it, in whatever case it is read.

    Example:
        >>> stems(["my-words", "my words"])
        {'my-words': 'my-words', 'my words': 'my-words-0e18c187'}
    """
    named: dict[str, str] = {}
    for attack in attacks:
        name = stem(attack)
        if name.casefold() in map(str.casefold, named.values()):
            name = f"{name}-{sha256(attack.encode()).hexdigest()[:8]}"
        named[attack] = name
    return named


def write_tables(
    folder: Path, name: str, usual: Sequence[Line], every: Sequence[Line]
) -> tuple[Path, Path]:
    """Write `NAME.csv` and `NAME.tex` of an attack into a folder, and return their paths.

    Args:
        folder: Where to.
        name: Of the files, see `stems`.
        usual: Lines of the main tables, for LaTeX.
        every: All lines of this attack, for CSV.
    """
    paths = folder / f"{name}.csv", folder / f"{name}.tex"
    for path, text in zip(paths, (_csv(order(every)), _latex(order(usual))), strict=True):
        write_bytes(path, text.encode())
    return paths


def _csv(lines: Sequence[Line]) -> str:
    """Return a row a line: of each figure the mean over seeds and the standard deviation."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    names = {**FIGURES, **COSTS}
    parts = [part for name in names for part in (name, f"{name}, sd")]
    rows.writerow(["policy", "protocol", *parts, "seeds", "failed", "defence", "tau", "target"])
    for line in lines:
        values = [
            value for field in names.values() for value in (line.mean(field), line.spread(field))
        ]
        told = ["" if np.isnan(value) else f"{value:z.4f}" for value in values]
        counts = [len(line.rows), len(line.failed), int(line.contends)]
        tau, target = line.cell.search.tau, line.cell.target
        more = ["" if tau is None else f"{tau:g}", target]
        rows.writerow([line.policy, line.protocol or "none", *told, *counts, *more])
    return out.getvalue()


def _latex(lines: Sequence[Line]) -> str:
    """Return a tabular of the figures that some line has; it needs the package booktabs."""
    held = {
        name: field for name, field in FIGURES.items() if any(line.values(field) for line in lines)
    }
    head = " & ".join(["policy", "protocol", *held])
    rows = [
        " & ".join(
            [
                _escaped(line.policy),
                _escaped(line.protocol) or "--",
                *(_figure(line, each) for each in held.values()),
            ]
        )
        for line in lines
    ]
    return "\n".join(
        [
            r"\begin{tabular}{ll" + "r" * len(held) + "}",
            r"\toprule",
            rf"{head} \\",
            r"\midrule",
            *(rf"{row} \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _figure(line: Line, field: str) -> str:
    mean, spread = line.mean(field), line.spread(field)
    if np.isnan(mean):
        return "--"
    return f"${mean:z.1f}$" if np.isnan(spread) else rf"${mean:z.1f} \pm {spread:.1f}$"


def _escaped(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in text)
