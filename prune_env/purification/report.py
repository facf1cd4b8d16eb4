"""What `purify` says of its work: the parts of `report.json`, and the facts of the model card."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from prune_env.data.dataset import TextDataset
from prune_env.policy import find_policy
from prune_env.purification.prepare import Prepared
from prune_env.purification.refitting import Refit
from prune_env.purification.search import SearchResult
from prune_env.rewards.inversion import Inversion


def agent_of(policy: str) -> dict[str, Any] | None:
    """Return which trained agent chooses the mask; None if the policy is no folder of one."""
    identity: dict[str, Any] | None = getattr(find_policy(policy), "identity", None)
    return identity


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
