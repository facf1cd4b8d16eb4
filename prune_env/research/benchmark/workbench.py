"""Runs cells; what several cells need is made once, kept on disk, and shared between processes."""

import time
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from prune_env.data.dataset import Splits
from prune_env.env.policy import Requirements
from prune_env.env.subject import Subject
from prune_env.evaluation.scores import Scores, score
from prune_env.models import LoadedModel, find_heads
from prune_env.purification import (
    SearchResult,
    fine_tune_suspicious,
    heal,
    make_subject,
    measure_heads,
    metrics_for,
    search,
)
from prune_env.research.attacks.align import align_triggered
from prune_env.research.attacks.backdoor import (
    AttackedModels,
    ModelSettings,
    aimed,
    cached_models,
)
from prune_env.research.attacks.sources import AttackSources
from prune_env.research.attacks.training import read_classifier, save_classifier
from prune_env.research.benchmark import addresses
from prune_env.research.benchmark.cell import ORACLES, REFERENCES, Cell, Target, digest
from prune_env.research.benchmark.found import found_from_json, found_to_json
from prune_env.research.benchmark.model_store import ModelStore, shared
from prune_env.research.benchmark.oracle import oracle_search
from prune_env.research.benchmark.remembered import Remembered
from prune_env.research.benchmark.rows import ResultRow, make_row
from prune_env.training.phases import Phase, TrainingRun
from prune_env.utils.files import (
    cache_folder,
    made_once,
    read_json,
    shaped,
    write_bytes,
    write_json,
)
from prune_env.utils.leases import locked


@dataclass(frozen=True, eq=False)
class CellResult:
    """What a cell gave.

    Attributes:
        row: Its figures.
        model: The model that was measured.
        models: The benign and the backdoored model, the attack, the test sets.
        found: The mask; None for references.
    """

    row: ResultRow
    model: LoadedModel
    models: AttackedModels
    found: SearchResult | None = None


class Workbench:
    """Runs cells on one data set.

    Fine-tuned models, importances and masks are kept in `folder` under names that say what they
    were made from: cells that share them, processes that run side by side, and a run that is
    taken up again find them there. All are read back from disk, even by the process that made
    them, so a resumed run computes with the very same numbers.

    Args:
        clean: The data set.
        folder: Where things are kept.
        identity: SHA-256 of data, model and files of attacks, part of every name.
        sources: Where the texts of published attacks, and of the user's own, come from.
        cache: Where backdoored and benign models are kept; default: the user's cache.
        trained: Where fine-tuned models and importances are kept for other runs too, in place of
            `folder`.
        writer: Takes the accuracy after each action of a search.
        store: Where models are kept for other machines too.
        encoder: Where the clean encoder is, if that is not where its name or folder leads.
    """

    def __init__(
        self,
        clean: Splits,
        folder: Path,
        *,
        identity: dict[str, str] | None = None,
        sources: AttackSources | None = None,
        cache: Path | None = None,
        trained: Path | None = None,
        writer: SummaryWriter | None = None,
        store: ModelStore | None = None,
        encoder: Path | None = None,
    ) -> None:
        self._clean = clean
        self._folder = folder
        self._trained = trained
        self._identity = identity or {}
        self._sources = sources
        self._cache = cache
        self._writer = writer
        self._store = store
        self._encoder = encoder
        self._models = Remembered[AttackedModels]()
        self._subjects = Remembered[Subject]()

    def run(self, cell: Cell) -> CellResult:
        """Run one cell, in its `normal` form.

        Raises:
            PruneEnvError: The attack, the policy or a fine-tuning failed.
        """
        models = self.models(cell.models)
        if cell.policy in REFERENCES:
            kept = models.benign if cell.policy == "benign" else models.backdoored
            loaded = read_classifier(kept.classifier, models.clean.train.label_names)
            heads = int(find_heads(loaded.model).available.sum())
            row = self._row(cell, models, kept.scores, seconds=kept.seconds, heads_total=heads)
            return CellResult(row, loaded, models)
        required = cell.requirements
        subject = self.subject(cell, required)
        models = self._judged(cell, subject)
        found = self.found(cell, subject)
        started = time.perf_counter()
        purified = heal(
            subject,
            found.masks,
            TrainingRun(cell.models.defender, required.final, cell.models.seed),
            protocol="refinetune" if cell.protocol == "refinetune" else "direct",
            healing=cell.healing,
        ).model
        finishing = time.perf_counter() - started
        row = self._row(
            cell,
            models,
            score(purified, models.sets, max_length=subject.require_suspect().max_length),
            heads_pruned=found.heads_pruned,
            heads_total=int(subject.evaluator.available.sum()),
            evaluations=found.evaluations,
            seconds=(found.seconds if required.prunes else subject.seconds) + finishing,
            tau=found.tau if required.prunes else None,
            validation_accuracy=100 * found.accuracy,
        )
        return CellResult(row, purified, models, found)

    def models(self, settings: ModelSettings) -> AttackedModels:
        """Return the benign and the backdoored model of an attack, trained once."""
        return self._models.get(digest(asdict(settings)), lambda: self._attacked(settings))

    def _attacked(self, settings: ModelSettings) -> AttackedModels:
        cache = self._cache or cache_folder()
        given = replace(settings, model=str(self._encoder)) if self._encoder else settings
        with shared(self._store, addresses.attack_name(settings, self._identity), cache) as parts:
            models = cached_models(given, self._clean, sources=self._sources, cache=cache)
            parts.extend(folder.relative_to(cache).as_posix() for folder in models.folders())
        return models

    def _judged(self, cell: Cell, subject: Subject) -> AttackedModels:
        """Return what a cell is judged by; a benign model by what the victim's trigger does."""
        models = self.models(cell.models)
        benign = cell.target == "benign"
        return models if benign else aimed(models, subject.require_suspect().loaded)

    def subject(self, cell: Cell, required: Requirements) -> Subject:
        """Return the fine-tuned model of a cell with its heads measured."""
        place = self._place(cell.models, cell.target, required.search)
        subject = self._fine_tuned(place, cell.models, cell.target, required.search)
        metrics = metrics_for([required])
        sentences = cell.search.importance_sentences
        path = place / f"importance-{digest([metrics, sentences])}.npy"
        with locked(path):
            if not path.is_file():
                values = measure_heads(
                    subject.require_suspect(),
                    metrics,
                    sentences=sentences,
                    seed=cell.models.seed,
                )
                np.save(buffer := BytesIO(), values)
                write_bytes(path, buffer.getvalue())
        with shaped(path, "the importance of heads"):
            importance = np.load(path)  # of pickles it raises a ValueError
            if importance.shape != (*subject.shape, len(metrics)):
                raise ValueError(f"shape {importance.shape}")
        return replace(subject, metrics=metrics, importance=importance)

    def _fine_tuned(
        self, place: Path, settings: ModelSettings, target: Target, phases: tuple[Phase, ...]
    ) -> Subject:
        models = self.models(settings)
        encoder = (models.benign if target == "benign" else models.backdoored).encoder

        def fill(folder: Path) -> None:
            started = time.perf_counter()
            run = TrainingRun(settings.defender, phases, settings.seed)
            loaded = fine_tune_suspicious(encoder, models.clean.train, run)
            save_classifier(loaded, folder / "classifier")
            write_json(folder / "made.json", {"seconds": time.perf_counter() - started})

        def read() -> Subject:
            with shared(self._store, name := f"fine-tuned/{place.name}", self._folder) as parts:
                made_once(place, fill)
                parts.append(name)
            loaded = read_classifier(place / "classifier", models.clean.train.label_names)
            subject = make_subject(
                loaded,
                encoder,
                models.clean.train,
                models.clean.validation,
                settings.defender.max_length,
            )
            made = read_json(place / "made.json")
            with shaped(place / "made.json", "what a training took", f"delete {place}"):
                return replace(subject, seconds=float(made["seconds"]))

        return self._subjects.get(place.name, read)

    def found(self, cell: Cell, subject: Subject) -> SearchResult:
        """Return the mask of a cell, which all its protocols share."""
        path = self._folder / addresses.mask_file(cell, self._identity)
        with locked(path):
            if not path.is_file():
                write_json(path, found_to_json(self._search(cell, subject)))
        content = read_json(path)
        with shaped(path, "what a search found"):
            return found_from_json(content)

    def _search(self, cell: Cell, subject: Subject) -> SearchResult:
        if cell.policy not in ORACLES:
            settings, seed = cell.settings_of_search, cell.models.seed
            return search(subject, cell.policy, settings, seed=seed, writer=self._writer)
        loaded, models = subject.require_suspect().loaded, self._judged(cell, subject)
        triggered, target = align_triggered(
            loaded, models.attack.triggered, models.sets.target_label
        )
        return oracle_search(
            subject,
            triggered,
            target,
            cell.search,
            calibrated=cell.policy == "oracle-calibrated",
            seed=cell.models.seed,
        )

    def _place(self, settings: ModelSettings, target: Target, phases: tuple[Phase, ...]) -> Path:
        name = addresses.fine_tuned_name(settings, target, phases, self._identity)
        if self._trained is None:
            return self._folder / "fine-tuned" / name
        # Runs share it: named after the poisoned rows and the data that importance is measured on.
        attacked = self.models(settings).backdoored.classifier.parent.name
        return self._trained / digest([attacked, self._clean.validation.sha256]) / name

    def _row(
        self,
        cell: Cell,
        models: AttackedModels,
        scores: Scores,
        *,
        seconds: float,
        heads_total: int,
        heads_pruned: int = 0,
        evaluations: int = 0,
        tau: float | None = None,
        validation_accuracy: float | None = None,
    ) -> ResultRow:
        row = make_row(
            scores,
            models.benign.scores,
            policy=cell.policy,
            protocol=cell.protocol,
            attack=cell.models.attack.attack,
            seed=cell.models.seed,
            heads_pruned=heads_pruned,
            heads_total=heads_total,
            evaluations=evaluations,
            seconds=seconds,
            healing=cell.healing,
            tau=tau,
            validation_accuracy=validation_accuracy,
        )
        return replace(row, target=cell.target, variant=cell.search.variant)
