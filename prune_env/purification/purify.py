"""The three steps in a row, and the folder that they leave."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from prune_env import runtime
from prune_env.data.dataset import TextDataset
from prune_env.files import new_folder, write_json
from prune_env.models.export import write_zeroed
from prune_env.purification.ensemble import write_ensemble
from prune_env.purification.finish import Healing, Protocol, finish
from prune_env.purification.prepare import metrics_for, prepare
from prune_env.purification.search import search
from prune_env.recipe import recipe_of
from prune_env.scores import TestSets, score
from prune_env.settings import FineTuneSettings, SearchSettings


def purify(
    source: str | Path,
    train: TextDataset,
    validation: TextDataset,
    out: Path,
    *,
    policy: str = "gradient",
    protocol: Protocol = "direct",
    healing: Healing = "none",
    search_settings: SearchSettings | None = None,
    fine_tune_settings: FineTuneSettings | None = None,
    seed: int = 0,
    **load: Any,
) -> dict[str, Any]:
    """Purify a model and write the folder `out`: model, `mask.json`, `report.json`, events.

    An ensemble is written as `ensemble.json` with its members; `load_ensemble` reads it.

    Args:
        source: Folder of the suspicious encoder or classifier.
        train: Clean sentences to train on.
        validation: Clean sentences on which masks are judged.
        out: Output folder; it appears when everything in it is whole.
        policy: A name in `POLICIES`.
        protocol: See `finish`.
        healing: See `finish`.
        search_settings: Of the search.
        fine_tune_settings: Of every fine-tuning.
        seed: Of everything random.
        **load: Further arguments of `load_classifier`.

    Returns:
        The content of `report.json`.

    Raises:
        OutputExistsError: `out` holds something already.
    """
    searching = search_settings or SearchSettings()
    tuning = fine_tune_settings or FineTuneSettings()
    recipe = recipe_of(policy, searching.variant)
    with new_folder(out) as folder, SummaryWriter(folder / "tensorboard") as writer:
        prepared = prepare(
            source,
            train,
            validation,
            tuning,
            seed=seed,
            metrics=metrics_for([recipe]),
            importance_sentences=searching.importance_sentences,
            phases=recipe.search,
            folder=folder / "tensorboard" / "fine_tune",
            **load,
        )
        found = search(prepared, policy, searching, seed=seed, writer=writer)
        purified = finish(
            prepared,
            found.masks,
            protocol,
            tuning,
            healing=healing,
            seed=seed,
            phases=recipe.final,
            folder=folder / "tensorboard" / "fine_tune_again",
            **load,
        )
        if found.others:
            write_ensemble(purified, folder, {"policy": policy, "seed": seed})
        else:
            write_zeroed(purified, found.mask, folder)
        after = score(purified, TestSets(validation)).acc
        report = {
            "run": {
                "source": str(source),
                "policy": policy,
                "protocol": protocol,
                "healing": healing,
                "seed": seed,
                "search": asdict(searching),
                "fine_tune": asdict(tuning),
            },
            "model": {
                "source_sha256": prepared.finetuned.sha256,
                "label_names": list(purified.label_names),
                "new_head": prepared.finetuned.new_head,
            },
            "data": {
                "train": _describe(train),
                "validation": _describe(validation),
            },
            "result": {
                "tau": found.tau,
                "validation_accuracy_unpruned": prepared.accuracy,
                "validation_accuracy_under_mask": found.accuracy,
                "validation_accuracy_purified": after.percent / 100,
                "heads_pruned": found.heads_pruned,
                "heads_total": int(prepared.evaluator.available.sum()),
                "evaluations": found.evaluations,
                "seconds": prepared.seconds + found.seconds,
            },
            "meta": runtime.describe(),
        }
        write_json(folder / "report.json", report)
    return report


def _describe(data: TextDataset) -> dict[str, Any]:
    return {"source": data.source, "rows": len(data), "sha256": data.sha256}
