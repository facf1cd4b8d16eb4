"""What `purify` says of its work: the parts of `report.json`, and the facts of the model card."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prune_env.data.dataset import TextDataset
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError, StateError
from prune_env.models.units import Units
from prune_env.purification.answers import Answers
from prune_env.purification.findings import describe_triggers
from prune_env.purification.heal import Healed
from prune_env.purification.milder import Attempt, chosen
from prune_env.purification.plan import Plan
from prune_env.purification.search_result import SearchResult
from prune_env.purification.step import RefitReport, StepReport
from prune_env.settings import check_length
from prune_env.utils import runtime
from prune_env.utils.files import read_json, sha256_of
from prune_env.utils.public import public_name

NO_DEFENCE = "no: what chose the mask learned from a reward that reads the trigger"
"""What the model card says of a mask where that is so."""


def make_report(
    plan: Plan,
    subject: Subject,
    found: SearchResult,
    healed: Healed,
    *,
    answers: Answers,
    attempts: Sequence[Attempt],
    seconds: float,
) -> dict[str, Any]:
    """Return the content of `report.json`.

    Args:
        plan: What was asked for.
        subject: The model before the mask.
        found: The mask.
        healed: What came of it.
        answers: Of the model before the mask to the validation data.
        attempts: At healing, each with what it left on the validation data.
        seconds: Wall time of the three steps.
    """
    loaded = subject.require_suspect().loaded
    taken = chosen(attempts)
    verdict = taken.verdict
    return {
        "run": _describe_plan(plan, found),
        "model": {
            "source_sha256": loaded.sha256,
            "label_names": list(loaded.label_names),
            "new_head": loaded.new_head,
        },
        "result": {
            "tau": found.tau,
            "validation_accuracy_unpruned": subject.accuracy,
            "validation_accuracy_under_mask": found.accuracy,
            "validation_accuracy_purified": verdict.accuracy,
            "keeps_tau": verdict.keeps_tau,
            **_count_pruned(subject.units, found),
            **({"members": len(found.masks)} if found.others else {}),
            "evaluations": found.evaluations,
            **({"episodes": found.episodes} if plan.chosen.search.episodes > 1 else {}),
            "seconds": seconds,
        },
        "data": {
            "train": _describe_data(plan.train),
            "validation": _describe_data(plan.validation),
        },
        **_describe_lesson(plan, subject),
        "answers": answers.to_json(),
        "tau": {
            **verdict.to_json(),
            "force": taken.force,
            "last_step_alone": taken.last_alone,
            "attempts": [{"force": each.force, "value": each.verdict.value} for each in attempts],
        },
        **_describe_healing(healed.reports, loaded.label_names),
        "meta": runtime.describe(),
    }


def _count_pruned(units: Units, found: SearchResult) -> dict[str, Any]:
    """Return how many heads the mask removes; where it chooses from other units, of all kinds."""
    total = int(units.head_part(units.available).sum())
    if units.heads_only:
        return {"heads_pruned": found.heads_pruned, "heads_total": total}
    pruned = units.pruned(found.mask)
    return {"heads_pruned": pruned["head"], "heads_total": total, "units_pruned": pruned}


def length_of(folder: Path) -> int | None:
    """Return how many tokens of a text were kept when `purify` wrote a folder, if it says so.

    The file may be a stranger's: whoever measures by it tells the user.
    """
    try:
        length = read_json(folder / "report.json")["run"]["fine_tune"]["max_length"]
    except (StateError, KeyError, TypeError):  # it may be anything's
        return None
    if type(length) is not int:
        return None
    try:
        check_length(length)
    except SettingsError:
        return None
    return length


def card_facts(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the model card says besides the model, taken from the report."""
    data, result = report["data"], report["result"]
    return {
        **{name: report["run"][name] for name in ("policy", "protocol", "healing", "seed")},
        **({"defence": NO_DEFENCE} if "oracle" in (report["run"]["agent"] or {}) else {}),
        **{f"{kind}: pruned": count for kind, count in result.get("units_pruned", {}).items()},
        "clean training data SHA-256": data["train"]["sha256"],
        "clean validation data SHA-256": data["validation"]["sha256"],
        "validation ACC, unpruned": result["validation_accuracy_unpruned"],
        "validation ACC, purified": result["validation_accuracy_purified"],
    }


def _describe_plan(plan: Plan, found: SearchResult) -> dict[str, Any]:
    """Return what was asked for, and who chose the mask in the end."""
    mask, policy = plan.mask, found.policy
    return {
        "source": public_name(plan.source),
        "policy": public_name(policy) if Path(policy).is_absolute() else policy,
        "agent": found.agent or None,
        "mask": None if mask is None else {"file": public_name(mask), "sha256": sha256_of(mask)},
        "protocol": plan.protocol,
        "healing": plan.chosen.healing,
        "export": plan.export,
        "onnx": plan.onnx,
        "seed": plan.seed,
        "search": asdict(plan.chosen.search),
        "fine_tune": asdict(plan.fine_tune),
        **({"units": plan.units} if plan.units != "heads" else {}),
    }


def _describe_healing(reports: Sequence[StepReport], label_names: Sequence[str]) -> dict[str, Any]:
    """Return the refits of every round, the inverted triggers, and what each model left of them."""
    refits = [refit for report in reports for refit in report.refits]
    inverted = [report.inverted for report in reports if report.inverted is not None]
    left = [report.left for report in reports if report.left is not None]
    return {
        "refits": [_describe_refit(each) for each in refits],
        "inverted_triggers": [describe_triggers(each, label_names) for each in inverted[:1] + left],
    }


def _describe_refit(refit: RefitReport) -> dict[str, Any]:
    """Return a refit by the keys of the report, which says *strangers* for unseen tokens."""
    values = asdict(refit)
    values["strangers"] = values.pop("unseen_tokens")
    return values


def _describe_lesson(plan: Plan, subject: Subject) -> dict[str, Any]:
    """Return what became of the unlabelled texts, if there were any."""
    lesson = subject.require_suspect().lesson
    if plan.unlabelled is None or lesson is None:
        return {}
    told = {
        "source": public_name(plan.unlabelled.source),
        "texts": len(plan.unlabelled),
        "texts_known": lesson.known,
        "rows_skipped": plan.unlabelled.skipped,
        "sha256": plan.unlabelled.sha256,
        "labelled": lesson.texts.counts,
        "teacher_accuracy": lesson.accuracy,
    }
    return {"unlabelled": told}


def _describe_data(data: TextDataset) -> dict[str, Any]:
    """Return what the report says of clean data: as it was given, its labels in their own order."""
    return {
        "source": public_name(data.source),
        "rows": len(data),
        "rows_skipped": data.skipped,
        "rows_repeated": data.repeated,
        "rows_contradictory": data.contradictory,
        "sha256": data.sha256,
    }
