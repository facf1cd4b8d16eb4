"""The result of a run: its rows, its file, and the table that a person reads."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from prune_env.errors import printable
from prune_env.evaluation.metrics import Share
from prune_env.utils import runtime
from prune_env.utils.files import write_json

if TYPE_CHECKING:
    from prune_env.evaluation.scores import Scores


@dataclass(frozen=True)
class ResultRow:
    """One model of a run. Every figure is in percent (points), None where it is undefined.

    Attributes:
        policy: `benign`, `backdoored`, `ft`, or the policy that chose the mask.
        protocol: `direct`, `refinetune`, or `none` where nothing was pruned.
        attack: Name of the attack.
        seed: Seed of the run.
        acc: Accuracy on the clean test set.
        lfr: Label flip rate on the triggered test set.
        floor: LFR of the benign model.
        excess_lfr: `lfr - floor`.
        acc_calibrated: `acc` at the calibrated threshold.
        lfr_calibrated: `lfr` at the calibrated threshold.
        excess_lfr_calibrated: Calibrated LFR minus the benign model's calibrated LFR.
        heads_pruned: Heads that the mask removes.
        heads_total: Heads of the model.
        evaluations: Masks whose validation accuracy was computed to choose this one.
        seconds: Wall time of what this row did beyond the rows it builds on.
        acc_interval: 95 % Wilson interval of `acc`.
        lfr_interval: 95 % Wilson interval of `lfr`.
        target: Which model was defended: `backdoored`, or `benign` to see what a defence breaks.
        healing: What was trained once the mask was on: `none`, or a healing.
        variant: Of the policy.
        tau: Validation accuracy (0 to 1) that the search kept; None where nothing is pruned.
        validation_accuracy: Under the mask, before the protocol.
        acc_calibrated_interval: 95 % Wilson interval of `acc_calibrated`; None in older results.
        lfr_calibrated_interval: 95 % Wilson interval of `lfr_calibrated`; None in older results.
    """

    policy: str
    protocol: str
    attack: str
    seed: int
    acc: float
    lfr: float | None
    floor: float | None
    excess_lfr: float | None
    acc_calibrated: float | None
    lfr_calibrated: float | None
    excess_lfr_calibrated: float | None
    heads_pruned: int
    heads_total: int
    evaluations: int
    seconds: float
    acc_interval: tuple[float, float] | None = None
    lfr_interval: tuple[float, float] | None = None
    target: str = "backdoored"
    healing: str = "none"
    variant: str = "paper"
    tau: float | None = None
    validation_accuracy: float | None = None
    acc_calibrated_interval: tuple[float, float] | None = None
    lfr_calibrated_interval: tuple[float, float] | None = None


def make_row(
    scores: "Scores",
    floor: "Scores | None",
    *,
    policy: str,
    protocol: str,
    attack: str,
    seed: int,
    heads_pruned: int,
    heads_total: int,
    evaluations: int,
    seconds: float,
    healing: str = "none",
    tau: float | None = None,
    validation_accuracy: float | None = None,
) -> ResultRow:
    """Return the row of a model with these scores; of the backdoored model, by the paper's variant.

    Args:
        scores: Of the model.
        floor: Of the benign model; None where there is none.
        policy: See `ResultRow`, as for all that follow.
        protocol: What was done with the mask.
        attack: Name.
        seed: Of the run.
        heads_pruned: By the mask.
        heads_total: Of the model.
        evaluations: Masks that were judged.
        seconds: Wall time.
        healing: What was trained once the mask was on.
        tau: That the search kept.
        validation_accuracy: Under the mask, in percent.
    """
    floor_lfr = _percent(floor.lfr if floor else None)
    floor_calibrated = _percent(floor.lfr_calibrated if floor else None)
    return ResultRow(
        policy=policy,
        protocol=protocol,
        attack=attack,
        seed=seed,
        acc=scores.acc.percent,
        lfr=_percent(scores.lfr),
        floor=floor_lfr,
        excess_lfr=minus(_percent(scores.lfr), floor_lfr),
        acc_calibrated=_percent(scores.acc_calibrated),
        lfr_calibrated=_percent(scores.lfr_calibrated),
        excess_lfr_calibrated=minus(_percent(scores.lfr_calibrated), floor_calibrated),
        heads_pruned=heads_pruned,
        heads_total=heads_total,
        evaluations=evaluations,
        seconds=seconds,
        acc_interval=_interval(scores.acc),
        lfr_interval=_interval(scores.lfr),
        healing=healing,
        tau=tau,
        validation_accuracy=validation_accuracy,
        acc_calibrated_interval=_interval(scores.acc_calibrated),
        lfr_calibrated_interval=_interval(scores.lfr_calibrated),
    )


def write_result(path: Path, settings: dict[str, Any], rows: Sequence[ResultRow]) -> dict[str, Any]:
    """Write `{"run", "rows", "meta"}` atomically and return it."""
    result = {
        "run": settings,
        "rows": [asdict(row) for row in rows],
        "meta": runtime.describe(),
    }
    write_json(path, result)
    return result


_COLUMNS = {
    "ACC": "acc",
    "LFR": "lfr",
    "excess": "excess_lfr",
    "cal. ACC": "acc_calibrated",
    "cal. LFR": "lfr_calibrated",
    "cal. excess": "excess_lfr_calibrated",
}


def table(rows: Sequence[ResultRow], title: str, width: int = 100) -> Table:
    """Return the rows as a table for a terminal.

    Args:
        rows: The rows.
        title: Above it.
        width: Columns of the terminal, 80 or more; below 100 the evaluations are left out.
    """
    narrow = width < 100
    out = Table(
        title=Text(printable(title)),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 0 if narrow else 1, 0, 0),
        show_edge=False,
    )
    out.add_column("policy", no_wrap=True)
    # The one that gives way, between its words, so that every figure is whole.
    out.add_column("protocol")
    for column in (*_COLUMNS, "pruned", *([] if narrow else ["evals"]), "time"):
        out.add_column(column.replace(" ", "\n"), justify="right", no_wrap=True)
    for row in rows:
        *cells, evaluations, seconds = (Text(printable(cell)) for cell in _cells(row))
        out.add_row(*cells, *([] if narrow else [evaluations]), seconds)
    return out


def told(row: ResultRow) -> str:
    """Return a row as a line."""
    done = treatment(row)
    name = f"{row.policy} ({done})" if done else row.policy
    flipped = "" if row.lfr is None else f", LFR {row.lfr:.1f}"
    return f"{name}: ACC {row.acc:.1f}{flipped}, {row.seconds:.0f} s"


def markdown(rows: Sequence[ResultRow]) -> str:
    """Return the rows as a Markdown table."""
    head = ("policy", "protocol", *_COLUMNS, "pruned", "evals", "time")
    rule = ("---", "---", *["--:"] * (len(head) - 2))
    lines = [head, rule, *(_cells(row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(row: ResultRow) -> list[str]:
    figures = [getattr(row, field) for field in _COLUMNS.values()]
    return [
        row.policy,
        treatment(row),
        *("-" if value is None else f"{value:z.1f}" for value in figures),
        f"{row.heads_pruned}/{row.heads_total}",
        str(row.evaluations),
        f"{row.seconds:.0f} s",
    ]


def treatment(row: ResultRow) -> str:
    """Return what was done with the mask, in words: the protocol and its healing."""
    return " + ".join(part for part in (row.protocol, row.healing) if part != "none")


def _percent(value: Share | None) -> float | None:
    return None if value is None else value.percent


def _interval(value: Share | None) -> tuple[float, float] | None:
    return None if value is None else (value.low, value.high)


def minus(left: float | None, right: float | None) -> float | None:
    """Return a difference, None where a side is undefined."""
    return None if left is None or right is None else left - right
