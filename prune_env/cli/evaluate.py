"""`prune-env evaluate`: ACC, LFR, floor and excess LFR of a classifier."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from prune_env.cli.options import TableOptions, facts, show

if TYPE_CHECKING:
    from prune_env.evaluation.scores import Scores, TestSets


@dataclass(frozen=True)
class Evaluate:
    """Measure the classifier MODEL: ACC, and LFR against its floor, with 95 % intervals.

    Attributes:
        model: Folder of a classifier, or whatever `purify` wrote: zeroed, sliced, an ensemble.
        data: Clean test sentences: a .tsv, .csv or .jsonl file, or a name (its test rows).
        triggered: Triggered texts with their TRUE labels; rows of the target label are an error.
        benign: A classifier that was never poisoned: its LFR is the floor.
        validation: Clean sentences for the calibrated figures.
        target_label: The attacker's label, as a number.
        json: Print JSON.
        tables: How tables are read.
    """

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    data: str
    triggered: str | None = None
    benign: str | None = None
    validation: str | None = None
    target_label: int = 1
    json: bool = False
    tables: TableOptions = field(default_factory=TableOptions)

    @property
    def online(self) -> bool:
        """Whether libraries may reach for the network."""
        return self.tables.allow_download

    def run(self) -> None:
        """Measure and print."""
        from prune_env.evaluation.scores import TestSets

        for model in filter(None, (self.model, self.benign)):
            self._folder(model)  # a wrong path is answered before anything is measured
        load = self.tables.load_table
        sets = TestSets(
            test=load(self.data),
            triggered=load(self.triggered) if self.triggered else None,
            validation=load(self.validation) if self.validation else None,
            target_label=self.target_label,
        )
        own = self._score(self.model, sets)
        benign = self._score(self.benign, sets) if self.benign else None
        rows = [("ACC", f"{own.acc} %  ({own.acc.count} of {own.acc.total})")]
        value: dict[str, Any] = {"model": asdict(own), "benign": benign and asdict(benign)}
        left_out = [part.skipped for part in (sets.test, sets.triggered, sets.validation) if part]
        value["rows_skipped"] = sum(left_out)
        if any(left_out):
            rows.append(("rows skipped", f"{sum(left_out)}, which could not be read"))
        if own.lfr is not None:
            rows.append(("LFR", f"{own.lfr} %  ({own.lfr.count} of {own.lfr.total})"))
        if own.lfr is not None and benign is not None and benign.lfr is not None:
            value["excess_lfr"] = own.lfr.percent - benign.lfr.percent
            rows.append(("floor", f"{benign.lfr} %"))
            rows.append(("excess LFR", f"{value['excess_lfr']:+.1f} points"))
        if own.acc_calibrated is not None:
            rows.append(("ACC calibrated", f"{own.acc_calibrated} %"))
        if own.lfr_calibrated is not None:
            rows.append(("LFR calibrated", f"{own.lfr_calibrated} %"))
        if own.lfr_calibrated and benign is not None and benign.lfr_calibrated is not None:
            value["excess_lfr_calibrated"] = (
                own.lfr_calibrated.percent - benign.lfr_calibrated.percent
            )
            rows.append(("excess calibrated", f"{value['excess_lfr_calibrated']:+.1f} points"))
        show(self.json, value, facts(rows))

    def _folder(self, model: str) -> Path:
        from prune_env.models import find_source

        return find_source(model, allow_download=self.tables.allow_download)

    def _score(self, model: str, sets: "TestSets") -> "Scores":
        from prune_env.evaluation.scores import score
        from prune_env.models import is_sliced, load_classifier, load_pruned
        from prune_env.models.source import is_ensemble
        from prune_env.purification import load_ensemble

        names = sets.test.label_names
        if is_ensemble(model):
            return score(load_ensemble(model), sets)
        if is_sliced(model):
            return score(load_pruned(model), sets)
        loaded = load_classifier(
            model,
            num_labels=len(names),
            head="keep",
            label_names=names,
            allow_download=self.tables.allow_download,
        )
        return score(loaded, sets)
