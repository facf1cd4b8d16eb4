"""The three steps in a row, and the folder that they leave."""

import logging
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from torch.utils.tensorboard import SummaryWriter

from prune_env.data.dataset import TextDataset, overlap, require_all_labels
from prune_env.env.policy import Requirements, requirements_of
from prune_env.errors import SettingsError
from prune_env.evaluation.scores import TestSets, score
from prune_env.inversion.search import Inversion
from prune_env.models import LoadedModel, head_shape, load_mask
from prune_env.purification.heal import REMOVING, check_healing, finish
from prune_env.purification.prepare import Prepared, fine_tuned, judged, metrics_for, prepare
from prune_env.purification.refit import Refit
from prune_env.purification.report import (
    agent_of,
    card_facts,
    check_export,
    described,
    outcome,
    removed,
    write_purified,
)
from prune_env.purification.search import given, search
from prune_env.purification.unlearn import unlearnable
from prune_env.settings import Export, FineTuneSettings, Healing, Protocol, SearchSettings
from prune_env.utils import runtime
from prune_env.utils.files import new_folder, sha256_of, write_json

AUTO = "auto"


def choose(
    policy: str,
    healing: Healing | Literal["auto"],
    protocol: Protocol,
    train: TextDataset,
    search: SearchSettings,
    *,
    masked: bool = False,
) -> tuple[str, Healing, SearchSettings]:
    """Return policy, healing and search settings, `auto` resolved.

    Whoever names a policy or gives a mask gets that alone. Before a healing that removes the
    backdoor itself, pruning heads gained nothing that could be told from noise, and cost accuracy:
    `ft` prunes none. Without it, the mask that withstands inverted triggers is the best.

    Args:
        policy: A name, the folder of an agent, or `auto`.
        healing: What follows the mask, or `auto`.
        protocol: What is done with the mask.
        train: Clean data.
        search: Of the search; a reward that was asked for stays.
        masked: Whether a mask is given, so that no policy searches one.
    """
    named = masked or policy != AUTO
    defined = protocol == "direct" and unlearnable(train)
    if healing == "auto":
        healing = "refit-unlearn" if defined and not named else "none"
    if named:
        return policy, healing, search
    if healing in REMOVING:
        return "ft", healing, search
    if not defined:
        return "gradient", healing, search
    asked = search.reward != SearchSettings.reward
    return (
        "reward-greedy",
        healing,
        search if asked else replace(search, reward="inverted-trigger"),
    )


log = logging.getLogger(__name__)
NOTHING = ("direct", "none")
"""Protocol and healing that leave a ready classifier as it is, where no head goes."""


def purify(
    source: str | Path,
    train: TextDataset,
    validation: TextDataset,
    out: Path,
    *,
    policy: str = "auto",
    mask: Path | None = None,
    protocol: Protocol = "direct",
    healing: Healing | Literal["auto"] = "auto",
    export: Export = "zeroed",
    onnx: bool = False,
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
        policy: A name in `POLICIES`, or the folder of a trained agent; `auto`: see `choose`.
        mask: File of a mask to apply as it is (see `given`); no policy then searches.
        protocol: See `finish`.
        healing: See `finish`; `auto`: see `choose`.
        export: `zeroed` has the shapes of the architecture and loads everywhere; `sliced` is
            smaller and faster and loads with `prune_env.load_pruned`.
        onnx: Write `model.onnx` too (see `prune_env.models.onnx`).
        search_settings: Of the search.
        fine_tune_settings: Of every fine-tuning.
        seed: Of everything random.
        **load: Further arguments of `load_classifier`.

    Returns:
        The content of `report.json`.

    Raises:
        OutputExistsError: `out` holds something already.
        DataError: A class has no row in the training or in the validation data.
        SettingsError: The settings contradict each other or ask for nothing at all, this export is
            not possible, or the mask does not fit the model.
        StateError: The mask file is missing or damaged.
    """
    policy, healing, searching = choose(
        policy,
        healing,
        protocol,
        train,
        search_settings or SearchSettings(),
        masked=mask is not None,
    )
    tuning = fine_tune_settings or FineTuneSettings()
    required = Requirements() if mask is not None else requirements_of(policy, searching.variant)
    check_healing(protocol, healing, train)
    require_all_labels(train)
    require_all_labels(validation)
    overlap(train, validation)
    place = {name: load[name] for name in ("allow_download", "revision") if name in load}
    check_export(source, export, onnx=onnx, members=required.members, **place)
    if mask is not None:
        # A wrong file is answered before minutes of training.
        load_mask(mask, head_shape(source, **place))
    with new_folder(out) as folder, SummaryWriter(folder / "tensorboard") as writer:
        events = folder / "tensorboard"
        preparing: dict[str, Any] = {
            "seed": seed,
            "phases": required.search,
            "folder": events / "fine_tune",
            **load,
        }
        if mask is None and required.prunes:
            prepared = prepare(
                source,
                train,
                validation,
                tuning,
                metrics=metrics_for([required]),
                importance_sentences=searching.importance_sentences,
                **preparing,
            )
        else:
            prepared = _unscored(source, train, validation, tuning, **preparing)
        if not required.prunes:
            _require_a_change(prepared, policy, protocol, healing)
        if mask is None:
            found = search(prepared, policy, searching, seed=seed, writer=writer)
        else:
            found = given(prepared, mask, searching)
        started = time.perf_counter()
        refits: list[Refit] = []
        inversions: list[Inversion] = []
        purified = finish(
            prepared,
            found.masks,
            protocol,
            tuning,
            healing=healing,
            seed=seed,
            phases=required.final,
            folder=events / "fine_tune_again",
            on_refit=refits.append,
            on_inversion=inversions.append,
            **load,
        )
        seconds = prepared.seconds + found.seconds + time.perf_counter() - started
        accuracy = _accuracy(purified, validation, prepared.max_length, found.tau)
        run = {
            "source": str(source),
            "policy": found.policy,
            "agent": None if mask is not None else agent_of(policy),
            "mask": None if mask is None else {"file": str(mask), "sha256": sha256_of(mask)},
            "protocol": protocol,
            "healing": healing,
            "export": export,
            "onnx": onnx,
            "seed": seed,
            "search": asdict(searching),
            "fine_tune": asdict(tuning),
        }
        report = {
            "run": run,
            **outcome(prepared, found, accuracy, seconds),
            "data": {"train": described(train), "validation": described(validation)},
            **removed(refits, inversions, prepared.finetuned.label_names),
            "meta": runtime.describe(),
        }
        write_purified(
            purified,
            found.masks,
            folder,
            export=export,
            onnx=onnx,
            facts=card_facts(report),
        )
        write_json(folder / "report.json", report)
    return report


def _unscored(
    source: str | Path,
    train: TextDataset,
    validation: TextDataset,
    tuning: FineTuneSettings,
    **run: Any,
) -> Prepared:
    """Return the fine-tuned model without scores of its heads: no policy chooses among them."""
    started = time.perf_counter()
    loaded = fine_tuned(source, train, tuning, **run)
    prepared = judged(loaded, source, train, validation, tuning.max_length)
    return replace(prepared, seconds=time.perf_counter() - started)


def _require_a_change(
    prepared: Prepared, policy: str, protocol: Protocol, healing: Healing
) -> None:
    """Refuse to write a ready classifier as it came, where no head goes and nothing is trained."""
    if not prepared.finetuned.new_head and (protocol, healing) == NOTHING:
        raise SettingsError(
            f"Nothing would be done to {prepared.source}, which has a classification head of its "
            "own",
            expected="an encoder to fine-tune, or a policy that prunes, or a healing",
            actual=f"policy {policy}, protocol {protocol}, healing {healing}",
            remedy="choose --healing refit, or another policy",
        )


def _accuracy(purified: LoadedModel, validation: TextDataset, max_length: int, tau: float) -> float:
    """Return the purified model's validation accuracy (0 to 1), with a warning if below tau."""
    accuracy = score(purified, TestSets(validation), max_length=max_length).acc.percent / 100
    if accuracy < tau:
        log.warning(
            "The purified model's validation accuracy is %.3f, below tau %.3f: lower the "
            "learning rate, or choose another healing or another policy",
            accuracy,
            tau,
        )
    return accuracy
