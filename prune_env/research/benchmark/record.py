"""The result of a cell as its file tells it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from prune_env.models.masks import Mask
from prune_env.research.attacks.attack import told_files
from prune_env.research.benchmark.rows import ResultRow
from prune_env.utils.limits import MOST_SIDE, require_count
from prune_env.utils.plain import from_plain

POINTS = (
    *("acc", "lfr", "floor", "excess_lfr", "acc_calibrated", "lfr_calibrated"),
    *("excess_lfr_calibrated", "validation_accuracy"),
)
"""Fields of a row in percent, or None."""

INTERVALS = (
    *("acc_interval", "lfr_interval"),
    *("acc_calibrated_interval", "lfr_calibrated_interval"),
)
"""Fields of a row that are both ends of an interval in percent, or None."""

COUNTS = {"heads_total": (0, MOST_SIDE**2), "evaluations": (0, 10**12), "seed": (-(2**63), 2**64)}
"""Least and most of the numbers of a row that any length could be written of."""

MOST_SECONDS = 1e10
"""Of a cell: no run takes three hundred years."""


@dataclass(frozen=True)
class Provenance:
    """What made a result, in words.

    Attributes:
        versions: Of Python and of the libraries.
        code: The commit, or else a hash of the source.
        machine: Device and threads.
    """

    versions: str
    code: str
    machine: str

    @classmethod
    def from_meta(cls, meta: dict[str, Any]) -> "Provenance":
        """Return what `utils.runtime.describe` wrote; early releases wrote no `source`."""
        source = f"source {meta['source']}" if meta.get("source") else "unknown"
        return cls(
            versions=", ".join(f"{name} {each}" for name, each in meta["versions"].items()),
            code=str(meta["commit"] or source),
            machine=f"{meta['machine']['device']}, {meta['machine']['threads']} threads",
        )


@dataclass(frozen=True)
class AttackNote:
    """What a result tells of the attack.

    Attributes:
        family: Of the trigger.
        files: Which files its texts are from; empty where a rule makes them.
        target_label: The attacker's label.
        rate: Share of the non-target rows that is poisoned; None where it is unknown.
    """

    family: str
    files: str
    target_label: int
    rate: float | None

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "AttackNote":
        """Return it from the identity of an attack."""
        return cls(
            family=str(value["family"]),
            files=told_files(value["trigger"]),
            target_label=int(value["target_label"]),
            rate=None if value["rate"] is None else float(value["rate"]),
        )


@dataclass(frozen=True, eq=False)
class CellRecord:
    """What a cell came to: a row, or the error that there is instead.

    Attributes:
        row: The figures; None if the cell failed.
        error: Why it failed; empty if it did not.
        masks: Bool (N, L, H), the members of what was found; None for references.
        attack: The attack; None if the cell failed.
        made_by: Code and machine; None if the cell failed.
        node: Machine of the cluster that ran it; empty if this one did.
        oracle: Whether the agent that chose the masks learned from the trigger.
    """

    row: ResultRow | None
    error: str = ""
    masks: Mask | None = None
    attack: AttackNote | None = None
    made_by: Provenance | None = None
    node: str = ""
    oracle: bool = False

    @property
    def status(self) -> str:
        """`done` or `failed`."""
        return "failed" if self.row is None else "done"

    def told(self) -> dict[str, Any]:
        """Return it in short, as plain values, for scripts."""
        row = self.row
        figures = {} if row is None else {"acc": row.acc, "lfr": row.lfr, "seconds": row.seconds}
        told = {"status": self.status, "node": self.node, "error": self.error, **figures}
        return {name: value for name, value in told.items() if value != ""}

    @classmethod
    def from_json(cls, value: dict[str, Any], where: str) -> "CellRecord":
        """Return what a result file holds.

        Args:
            value: Its content.
            where: Its name, for messages.

        Raises:
            SettingsError: The row has another shape.
            ValueError: There is neither a row nor an error, or a part has another shape; also the
                other errors of `utils.files.MISSHAPEN`.
        """
        if value["status"] == "failed" and isinstance(value["error"], str):
            return cls(None, value["error"], node=str(value.get("node", "")))
        if value["status"] != "done":
            raise ValueError(f"status {value['status']!r:.80}")
        row = _checked(from_plain(ResultRow, value["row"], f"{where}: row"))
        found = value.get("found")
        return cls(
            row=row,
            masks=None if found is None else _masks(found["masks"], row),
            attack=AttackNote.from_json(value["attack"]),
            made_by=Provenance.from_meta(value["meta"]),
            node=str(value.get("node", "")),
            oracle=found is not None and "oracle" in found.get("agent", {}),
        )


def _masks(members: Any, row: ResultRow) -> Mask:
    """Return the masks of what was found, bool (N, L, H).

    Raises:
        ValueError: They are those of no model, or of a smaller one than the row is of.
    """
    masks = np.array(members, bool)
    if masks.ndim != 3 or not masks.size > 0 or max(masks.shape[1:]) > MOST_SIDE:
        raise ValueError(f"masks of shape {masks.shape}")
    if masks[0].size < row.heads_total:  # it may be larger: not every head is there to be pruned
        raise ValueError(f"masks of shape {masks.shape} for {row.heads_total:,} heads")
    return masks


def _checked(row: ResultRow) -> ResultRow:
    """Return a row, or raise a ValueError: figures are points, and heads and time are counts."""
    told = [getattr(row, name) for name in INTERVALS]
    intervals = [each for each in told if each is not None]
    points = [getattr(row, name) for name in POINTS] + [end for each in intervals for end in each]
    if not all(-100 <= each <= 100 for each in points if each is not None):
        raise ValueError(f"points {points!s:.200}")
    if any(len(each) != 2 for each in intervals):
        raise ValueError(f"intervals {intervals!s:.200}")
    for name, (least, most) in COUNTS.items():
        require_count(getattr(row, name), least, most)
    if not (0 <= row.heads_pruned <= row.heads_total and 0 <= row.seconds <= MOST_SECONDS):
        raise ValueError(f"{row.heads_pruned} of {row.heads_total} heads, {row.seconds} s")
    if not (row.tau is None or 0 <= row.tau <= 1):
        raise ValueError(f"tau {row.tau}")
    return row
