"""What a run tells of itself: one dataclass a kind of event, in the values that JSON has.

A mask is a list of rows of `1` (kept) and `0` (pruned), one a layer, a character a head. Shares
and accuracies are 0 to 1; seconds are floats. A reader ignores kinds that it does not know.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Status = Literal["done", "failed", "interrupted"]
CellStatus = Literal["pending", "running", "done", "failed"]
Stage = Literal["start", "search", "tried", "learn", "test", "chosen", "healed"]


@dataclass(frozen=True)
class ModelShown:
    """The model whose heads are pruned from now on, before any is.

    Attributes:
        model: Its name; pools hold several.
        available: Mask of the heads that exist.
        accuracy: On clean validation data, unpruned.
        tau: Accuracy that a mask must keep.
        rows: Validation texts that accuracy is judged on.
        labels: Names of the classes.
        importance: Importance of every head, `(L, H)` nested lists by the name of the metric.
        heads: Columns of masks that are heads, where other units come behind them.
    """

    model: str
    available: list[str]
    accuracy: float
    tau: float
    rows: int | None = None
    labels: list[str] = field(default_factory=list)
    importance: dict[str, list[list[float]]] = field(default_factory=dict)
    heads: int | None = None


@dataclass(frozen=True)
class PhaseBegun:
    """The run begins something that takes long; `total` units of it are to be done."""

    name: str
    total: int


@dataclass(frozen=True)
class PhaseAdvanced:
    """So many units of the phase are done."""

    done: int


@dataclass(frozen=True)
class PhaseEnded:
    """The phase is over."""


@dataclass(frozen=True)
class MaskSet:
    """A mask that was reached.

    Attributes:
        mask: See the module.
        accuracy: On clean validation data under it.
        stage: Where in the run: before any pruning, a policy's step, one of the masks that a
            search tries, what an episode of learning left, or a test without exploration, the
            mask that is handed out, or the purified model under it, once what was trained or
            refitted is judged (of an ensemble that of all members, under the last one's mask).
        model: Name of the model.
        action: Head that was pruned last, `[layer, head]`.
        reward: What was paid since the mask before, or in the whole episode.
        terms: Its parts by name.
        step: Of the episode, or of the learning.
    """

    mask: list[str]
    accuracy: float
    stage: Stage
    model: str = "model"
    action: list[int] | None = None
    reward: float | None = None
    terms: dict[str, float] = field(default_factory=dict)
    step: int | None = None


@dataclass(frozen=True)
class MasksCounted:
    """Masks asked so far, and how many of them had to be computed; the others were remembered."""

    asked: int
    computed: int


@dataclass(frozen=True)
class RefitDone:
    """A refit of all maps: `RefitReport` of `purification.step`, and what each map kept."""

    strength: float
    kept: float
    accuracy: float
    unseen_tokens: int = 0
    maps: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TriggersFound:
    """Inverted phrases, suspicious words and patches, by the name of the class that they flip to.

    Attributes:
        moment: `before` they are unlearned, or `after`.
        by_label: For each class `flipped` (a share), `words` and `triggers` (texts), and of images
            `covered` (a share).
    """

    moment: Literal["before", "after"]
    by_label: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class CellsPlanned:
    """The cells of a benchmark: `[address, name]` of each, in order."""

    cells: list[list[str]]


@dataclass(frozen=True)
class CellChanged:
    """A cell of a benchmark: `row` holds its figures once it is done, `error` why it failed."""

    key: str
    status: CellStatus
    row: dict[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True)
class RowMeasured:
    """A model of a research run, measured on triggered texts too: no defender sees this."""

    row: dict[str, Any]


@dataclass(frozen=True)
class RunEnded:
    """The run is over; `error` says why it failed."""

    status: Status
    error: str | None = None


Event = (
    ModelShown
    | PhaseBegun
    | PhaseAdvanced
    | PhaseEnded
    | MaskSet
    | MasksCounted
    | RefitDone
    | TriggersFound
    | CellsPlanned
    | CellChanged
    | RowMeasured
    | RunEnded
)


def mask_rows(mask: npt.NDArray[np.bool_]) -> list[str]:
    """Return a mask (L, H) as events hold it.

    Example:
        >>> mask_rows(np.array([[True, False], [True, True]]))
        ['10', '11']
    """
    return ["".join("1" if kept else "0" for kept in row) for row in mask.tolist()]
