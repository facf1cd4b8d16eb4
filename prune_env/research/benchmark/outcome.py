"""What running one cell comes to: the content of its file, vectors, and its model if asked for."""

import logging
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from prune_env.models import find_heads
from prune_env.models.card import ABOUT
from prune_env.models.forward import cls_vectors
from prune_env.purification import Ensemble
from prune_env.purification.export import write_purified
from prune_env.research.attacks.backdoor import AttackedModels
from prune_env.research.benchmark.cell import ORACLES, REFERENCES, Cell
from prune_env.research.benchmark.found import found_to_json
from prune_env.research.benchmark.store import Embeddings
from prune_env.research.benchmark.workbench import CellResult, Workbench
from prune_env.utils import runtime
from prune_env.utils.files import write_json
from prune_env.utils.full_disk import tells_full_disk
from prune_env.utils.memory import give_back
from prune_env.utils.plain import to_plain

log = logging.getLogger(__name__)

SHOWN = 100
"""Sentences of each kind whose [CLS] vectors are kept for the t-SNE figure."""


@dataclass(frozen=True, eq=False)
class FinishedCell:
    """What a cell came to.

    Attributes:
        value: The content of its result file.
        embeddings: The [CLS] vectors of its model; None if it failed.
        no_room: Whether it failed for a disk that is full, which says nothing of the cell.
    """

    value: dict[str, Any]
    embeddings: Embeddings | None = None
    no_room: bool = False


def run_cell(
    bench: Workbench, cell: Cell, keep: Callable[[CellResult], None] | None = None
) -> FinishedCell:
    """Run a cell; one that fails is a result too. What it needed of memory is given back.

    Args:
        bench: Runs it.
        cell: In its `normal` form.
        keep: Keeps its model.
    """
    try:
        return _run(bench, cell, keep)
    finally:
        give_back()


def _run(bench: Workbench, cell: Cell, keep: Callable[[CellResult], None] | None) -> FinishedCell:
    try:
        result = bench.run(cell)
        embeddings = _embeddings(result, cell.models.defender.max_length)
        if keep is not None:
            keep(result)
    except Exception as error:
        log.exception("%s failed", cell)
        failed = failed_outcome(cell, describe(error), traceback.format_exc())
        return replace(failed, no_room=tells_full_disk(error))
    value = {
        "cell": to_plain(cell),
        "status": "done",
        "row": asdict(result.row),
        "found": result.found and found_to_json(result.found),
        "attack": result.models.attack.identity,
        "meta": runtime.describe(),
    }
    return FinishedCell(value, embeddings)


def failed_outcome(cell: Cell, error: str, details: str = "", node: str = "") -> FinishedCell:
    """Return the outcome of a cell that has no figures.

    Args:
        cell: The cell.
        error: Why, in a line.
        details: The traceback, if there is one.
        node: Where it was run, if that was elsewhere.
    """
    value = {"cell": to_plain(cell), "status": "failed", "error": error, "details": details}
    return FinishedCell({**value, **({"node": node} if node else {}), "meta": runtime.describe()})


def describe(error: BaseException) -> str:
    """Return an exception in a line."""
    return f"{type(error).__name__}: {error}"


def write_model(cell: Cell, result: CellResult, folder: Path) -> None:
    """Write the model that was measured into an empty folder, as `purify` would."""
    if result.found is not None:
        masks = result.found.masks
    else:
        masks = (find_heads(result.model.model).available,)
    models = result.models
    told = models.attack
    attack = [told.settings.attack, told.told_files, f"target {_target(models)}"]
    facts = {
        ABOUT: _about(cell),
        "cell": str(cell),
        "attack": ", ".join(filter(None, attack)),
        "LFR": "not defined" if result.row.lfr is None else f"{result.row.lfr:.1f} %",
    }
    oracle = cell.policy in ORACLES or (result.found is not None and result.found.oracle)
    write_purified(
        result.model, masks, folder, export="zeroed", onnx=False, facts=facts, oracle=oracle
    )
    clean = cell.policy not in REFERENCES or (cell.policy == "backdoored" and told.task_agnostic)
    tuning = models.settings.defender if clean else models.settings.attacker
    # As in the report of `purify`, which `evaluate` asks for the length of texts.
    run = {"fine_tune": asdict(tuning), "seed": cell.models.seed}
    write_json(
        folder / "report.json", {"run": run, "cell": to_plain(cell), "attack": told.identity}
    )


def _target(models: AttackedModels) -> str:
    return models.clean.test.label_names[models.sets.target_label]


def _about(cell: Cell) -> str:
    """Return the heading of a model's card, and what stands under it."""
    if cell.policy == "benign":
        return "# A benign classifier\n\nprune-env trained it on clean data alone, for a benchmark."
    if cell.policy == "backdoored":
        return (
            "# A backdoored classifier\n\n**It holds a backdoor**, which prune-env planted for a "
            "benchmark, as said below. Do not use it for anything else."
        )
    if cell.target == "benign":
        return (
            "# A benign classifier under a defence\n\nprune-env did to a model that was never "
            "poisoned what is said below, for a benchmark."
        )
    return (
        "# A backdoored classifier under a defence\n\nprune-env planted a backdoor for a "
        "benchmark, and did what is said below to weaken it. Do not use it for anything else."
    )


def _embeddings(result: CellResult, max_length: int) -> Embeddings:
    """Return the [CLS] vectors of some test sentences of each kind, float16 (N, D)."""
    sets = result.models.sets
    target = sets.target_label
    kinds = {
        "clean_target": sets.test.where(target).texts,
        "clean_other": [
            text
            for text, label in zip(sets.test.texts, sets.test.labels, strict=True)
            if label != target
        ],
        "triggered": sets.triggered.texts if sets.triggered else (),
    }
    whole = cast(object, result.model.model)
    members = list(whole.models) if isinstance(whole, Ensemble) else [whole]
    return {
        kind: np.mean(
            [
                cls_vectors(
                    cast(Any, member), result.model.tokenizer, texts[:SHOWN], max_length=max_length
                )
                for member in members
            ],
            axis=0,
        ).astype(np.float16)
        for kind, texts in kinds.items()
    }
