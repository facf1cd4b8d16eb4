"""What `purify` says of its work: the parts of `report.json`, and the facts of the model card."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prune_env.data.dataset import TextDataset
from prune_env.env.policy import TrainedStrategy, find_policy
from prune_env.errors import SettingsError
from prune_env.inversion.search import Inversion
from prune_env.models import LoadedModel, Mask, find_source, write_sliced, write_zeroed
from prune_env.models.ensemble import write_ensemble
from prune_env.models.onnx import require_onnx, write_onnx
from prune_env.models.source import read_config
from prune_env.purification.prepare import Prepared
from prune_env.purification.refit import Refit
from prune_env.purification.search import SearchResult
from prune_env.settings import Export


def check_export(
    source: str | Path, export: Export, *, onnx: bool = False, members: int = 1, **place: Any
) -> None:
    """Raise if the purified model could not be written in the end, before hours are spent on it.

    Args:
        source: The suspicious model.
        export: Form of the weights.
        onnx: Whether `model.onnx` is wanted too.
        members: Models of the ensemble; 1 = none.
        **place: Further arguments of `find_source`.

    Raises:
        SettingsError: The form is unknown, or does not go with an ensemble.
        ModelError: A package that writes ONNX is missing, or the model has no ONNX form.
    """
    if export not in ("zeroed", "sliced"):
        raise SettingsError("export is unknown", expected="zeroed or sliced", actual=export)
    if members > 1 and (export != "zeroed" or onnx):
        raise SettingsError(
            "An ensemble is written as its members, with a mask each",
            expected="export zeroed, without ONNX",
            actual=f"export {export}{', with ONNX' if onnx else ''}",
            remedy="choose a policy that makes one model",
        )
    if onnx:
        config = read_config(find_source(source, **place) / "config.json")
        require_onnx(str(config.get("model_type")))


def write_purified(
    purified: LoadedModel,
    masks: tuple[Mask, ...],
    folder: Path,
    *,
    export: Export,
    onnx: bool,
    facts: Mapping[str, Any],
) -> None:
    """Write the purified model into an existing folder.

    Args:
        purified: What `finish` returned.
        masks: Bool (L, H) each, True = kept; several are those of an ensemble.
        folder: Where to.
        export: Form of the weights.
        onnx: Write `model.onnx`, of the same form, too.
        facts: What the model card says besides the model.

    Raises:
        ModelError: The model holds NaN or Inf, or cannot be written in this form.
    """
    if len(masks) > 1:
        write_ensemble(purified, folder, facts)
        return
    write = write_sliced if export == "sliced" else write_zeroed
    write(purified, masks[0], folder, facts)
    if onnx:
        write_onnx(purified, masks[0], folder / "model.onnx", sliced=export == "sliced")


def agent_of(policy: str) -> dict[str, Any] | None:
    """Return which trained agent chooses the mask; None if the policy is no folder of one."""
    strategy = find_policy(policy)
    return strategy.identity if isinstance(strategy, TrainedStrategy) else None


def card_facts(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the model card says besides the model, taken from the report."""
    data, result = report["data"], report["result"]
    return {
        **{name: report["run"][name] for name in ("policy", "protocol", "healing", "seed")},
        "clean training data SHA-256": data["train"]["sha256"],
        "clean validation data SHA-256": data["validation"]["sha256"],
        "validation ACC, unpruned": result["validation_accuracy_unpruned"],
        "validation ACC, purified": result["validation_accuracy_purified"],
    }


def outcome(
    prepared: Prepared, found: SearchResult, accuracy: float, seconds: float
) -> dict[str, Any]:
    """Return what the report says of the model and of what came of it.

    Args:
        prepared: What `prepare` or `judged` returned.
        found: The mask.
        accuracy: Validation accuracy (0 to 1) of the purified model.
        seconds: Wall time of the three steps.
    """
    finetuned = prepared.finetuned
    return {
        "model": {
            "source_sha256": finetuned.sha256,
            "label_names": list(finetuned.label_names),
            "new_head": finetuned.new_head,
        },
        "result": {
            "tau": found.tau,
            "validation_accuracy_unpruned": prepared.accuracy,
            "validation_accuracy_under_mask": found.accuracy,
            "validation_accuracy_purified": accuracy,
            "keeps_tau": accuracy >= found.tau,
            "heads_pruned": found.heads_pruned,
            "heads_total": int(prepared.evaluator.available.sum()),
            "evaluations": found.evaluations,
            "seconds": seconds,
        },
    }


def removed(
    refits: Sequence[Refit], inversions: Sequence[Inversion], label_names: Sequence[str]
) -> dict[str, Any]:
    """Return what the report says of the healing.

    Args:
        refits: Of every round.
        inversions: The triggers that were inverted, and what is left of them in each model.
        label_names: Names of the classes, in the order of the model's logits.
    """
    return {
        "refits": [asdict(each) for each in refits],
        "inverted_triggers": [_triggers(each, label_names) for each in inversions],
    }


def _triggers(found: Inversion, label_names: Sequence[str]) -> dict[str, Any]:
    """Return the triggers of an inversion by the name of the label that they flip to."""
    return {
        name: {
            "flipped": strength,
            "words": list(words),
            "triggers": [str(each) for each in frames],
        }
        for name, strength, words, frames in zip(
            label_names, found.strength, found.words, found.by_class, strict=True
        )
    }


def described(data: TextDataset) -> dict[str, Any]:
    """Return what the report says of clean data: as it was given, its labels in their own order."""
    return {
        "source": data.source,
        "rows": len(data),
        "rows_skipped": data.skipped,
        "sha256": data.sha256,
    }
