"""What an audit tells: `audit.json`, `report.md` and a scatter plot of each reward."""

import re
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from prune_env.research.audit.audit import HIDDEN, LEAN, AuditResult
from prune_env.research.audit.correlation import COLUMNS
from prune_env.research.figure import save_figure
from prune_env.utils.files import write_bytes, write_json

DPI = 120

LEGEND = """
Rank correlation (Spearman) of each reward, which reads clean data only, with the hidden LFR over
masks, in brackets its 95 % bootstrap interval. **Positive = the reward rises where the LFR
falls**: +1 would rank masks as the hidden LFR does. *Calibrated*: LFR at the threshold that
calls as many clean validation sentences {target} as are labelled so. *At fixed ...*: partial rank
correlation, the named quantity held fixed. *Usable*: masks that cost at most {drop:g} points of
validation accuracy. The row *{lean}* is no reward: it tells how far a mere lean
away from the target label goes. A dash: too few masks, or nothing to rank.
"""


def table(audit: AuditResult) -> list[tuple[str, ...]]:
    """Return the rows of the table of correlations, the heading first, best reward on top."""
    rows = [("reward", *COLUMNS.values())]
    for name in ranked(audit):
        found = audit.correlations[name]
        rows.append((name, *(str(found[column] or "-") for column in COLUMNS)))
    return rows


def ranked(audit: AuditResult) -> list[str]:
    """Return the rewards by their correlation with all three held fixed, the best first.

    Those that could not be ranked come after them, and the row of mere lean last.
    """

    def key(name: str) -> tuple[bool, bool, float]:
        found = audit.correlations[name]["all"]
        return name == LEAN, found is None, 0.0 if found is None else -found.value

    return sorted(audit.correlations, key=key)


def write_report(audit: AuditResult, folder: str | Path, facts: dict[str, Any]) -> None:
    """Write `audit.json`, `report.md` and `figures/*.png` into a folder.

    Args:
        audit: What was found.
        folder: The run folder.
        facts: Plain values on model and data, for the report's head and the JSON.
    """
    folder = Path(folder)
    target = facts.get("target", "the target label")
    value = {
        **facts,
        "masks": len(audit.masks),
        "hidden": {
            name: {"lowest": float(values.min()), "highest": float(values.max())}
            for name, values in audit.hidden.items()
        },
        "correlations": plain(audit),
    }
    write_json(folder / "audit.json", value)
    head, *rows = table(audit)
    lines = ["# Audit of rewards\n"]
    lines += [f"- {name}: {_plain(fact)}" for name, fact in facts.items() if name != "meta"]
    lines += [
        f"- masks: {len(audit.masks)} ({audit.usable.sum()} usable), "
        + ", ".join(f"{audit.sources.count(s)} {s}" for s in dict.fromkeys(audit.sources)),
        *(
            f"- {name}: {audit.hidden[name].min():.3g} to {audit.hidden[name].max():.3g}"
            for name in HIDDEN
        ),
        LEGEND.format(drop=100 * audit.settings.max_drop, lean=LEAN, target=target),
        "| " + " | ".join(head) + " |",
        "|---|" + "--:|" * (len(head) - 1),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]
    for name, picture in _pictures(ranked(audit)).items():
        scatter(audit, name, folder / picture)
        lines.append(f"![{name} against the hidden LFR]({picture})")
    write_bytes(folder / "report.md", ("\n".join(lines) + "\n").encode())


def _pictures(names: list[str]) -> dict[str, str]:
    """Return where the picture of each reward stands in the folder of an audit.

    A file has only letters, digits and dashes of the name. What they leave of two formulas may be
    one, as of `sparsity` with the weights 2 and -2: the second one then has a number.
    """
    taken: dict[str, str] = {}
    for name in names:
        base = re.sub("[^0-9A-Za-z-]+", "-", name).strip("-")
        tries = (f"figures/{base}{end}.png" for end in chain([""], map("-{}".format, count(2))))
        used = {picture.lower() for picture in taken.values()}  # of which some disks know one case
        taken[name] = next(picture for picture in tries if picture.lower() not in used)
    return taken


def plain(audit: AuditResult) -> dict[str, dict[str, Any]]:
    """Return the correlations as JSON values, by reward and by name in `COLUMNS`."""
    return {
        name: {key: found and found.to_json() for key, found in columns.items()}
        for name, columns in audit.correlations.items()
    }


def scatter(audit: AuditResult, name: str, path: Path) -> None:
    """Draw LFR against a reward, calibrated and raw, one point a mask, coloured by its heads."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    reward, pruned = audit.rewards[name], audit.hidden["pruned"]
    path_of = np.array([source not in ("random", "full") for source in audit.sources])
    whole = pruned == 0
    for axis, goal in zip(axes, ("lfr_calibrated", "lfr"), strict=True):
        for marker, chosen, label in (
            ("o", ~path_of & ~whole, "random mask"),
            ("^", path_of, "on a policy's path"),
            ("*", whole, "unpruned"),
        ):
            points = axis.scatter(
                reward[chosen],
                100 * audit.hidden[goal][chosen],
                c=pruned[chosen],
                vmin=0,
                vmax=max(pruned.max(), 1),
                cmap="viridis",
                marker=marker,
                s=160 if marker == "*" else 28,
                edgecolors="black",
                linewidths=0.4,
                label=label,
            )
        found = audit.correlations[name]["raw" if goal == "lfr" else "calibrated"]
        title = "raw LFR" if goal == "lfr" else "calibrated LFR"
        axis.set_title(f"{title}: {found or 'not ranked'}", fontsize=10)
        axis.set_xlabel(name)
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("LFR (%)")
    axes[1].legend(fontsize=8)
    figure.colorbar(points, ax=axes, label="heads pruned")
    save_figure(figure, path, DPI)


def _plain(fact: Any) -> str:
    if isinstance(fact, dict):
        return ", ".join(f"{name} {_plain(value)}" for name, value in fact.items())
    if isinstance(fact, list | tuple):
        return ", ".join(map(_plain, fact))
    return str(fact)
