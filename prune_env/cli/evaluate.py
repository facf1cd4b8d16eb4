"""`prune-env evaluate`: ACC, LFR, floor and excess LFR of a classifier."""

import logging
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from prune_env.cli.options import TARGET_ALIAS, MachineOptions, TableOptions, facts, show
from prune_env.utils.counts import count_of

if TYPE_CHECKING:
    from prune_env.data.dataset import TextDataset
    from prune_env.evaluation.scores import Measured, Scores, TestSets

log = logging.getLogger(__name__)

Facts = list[tuple[str, str]]
DEFAULT_LENGTH = 128
"""Tokens of a text, as in a fine-tuning."""


@dataclass(frozen=True)
class Evaluate:
    """Measure MODEL: ACC, and LFR against its floor, with 95 % intervals.

    Attributes:
        model: Folder of a classifier, or whatever `purify` wrote: zeroed, sliced, an ensemble.
        data: Clean test sentences: a .tsv, .csv or .jsonl file, or a name (its test rows).
        triggered: Triggered texts with their true labels; rows of the target label are left out.
            If every row has it, the column tells the attacker's label.
        attack: Instead of `triggered`: name of the attack that triggers the test sentences, see
            `prune-env list --kind attacks`.
        benign: A classifier that was never poisoned: its LFR is the floor.
        backdoored: The classifier as it was before the defence: MODEL is compared with it by NIST
            TrojAI's mitigation fidelity (the share of LFR removed times the share of ACC kept) and
            by McNemar's test of whether both err equally often.
        validation: Clean sentences for the calibrated figures.
        target_label: The attacker's label, by name or as a number; of `--attack task-agnostic` it
            must be given (default: 1)
        max_length: Tokens kept of a text; default: as many as when `purify` wrote MODEL, else 128.
            Longer texts are counted.
        json: Print JSON.
        machine: What of the machine it may use.
        tables: How tables are read.
    """

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    data: str
    triggered: str | None = None
    attack: str | None = None
    benign: str | None = None
    backdoored: str | None = None
    validation: str | None = None
    target_label: Annotated[int | str | None, TARGET_ALIAS] = None
    max_length: int | None = None
    json: bool = False
    machine: MachineOptions = field(default_factory=MachineOptions)
    tables: TableOptions = field(default_factory=TableOptions)

    @property
    def online(self) -> bool:
        """Whether libraries may reach for the network."""
        return self.tables.allow_download

    def run(self) -> None:
        """Measure and print."""
        from prune_env.errors import SettingsError
        from prune_env.utils.progress import job

        for model in filter(None, (self.model, self.benign, self.backdoored)):
            self._folder(model)  # a wrong path is answered before anything is measured
        sets, length = self._sets(), self._length()
        if self.benign is not None and sets.triggered is None:
            raise SettingsError(
                "A benign model tells the floor of triggered texts",
                expected="--triggered FILE or --attack NAME beside --benign",
                actual="neither",
            )
        models = {"model": self.model, "benign": self.benign, "backdoored": self.backdoored}
        measured: dict[str, Measured] = {}
        with job("evaluate", len([each for each in models.values() if each])) as begin:
            for name, folder in models.items():
                if folder:
                    begin(name)
                    measured[name] = self._measure(folder, sets, length)
        own, benign, before = map(measured.get, models)
        assert own is not None
        missing = [name for name, rows in sets.test.counts.items() if not rows]
        if missing:
            log.warning("ACC tells nothing of classes without a row: %s", ", ".join(missing))
        elif own.scores.acc.high < 100 / len(sets.test.label_names):
            log.warning(
                "ACC is below chance: the label names of MODEL or of the data may be in another "
                "order than meant (--label-names)"
            )
        skipped = sum(part.skipped for part in (sets.test, sets.triggered, sets.validation) if part)
        value: dict[str, Any] = {
            "model": asdict(own.scores),
            "data": _described(sets),
            "benign": benign and asdict(benign.scores),
            "rows_skipped": skipped,
            "max_length": length,
            "texts_cut": own.cut,
            "models": {name: _identified(str(models[name]), measured[name]) for name in measured},
        }
        rows = _own(own.scores)
        if sets.triggered is not None:  # the same texts say another thing of another target
            value["target"] = sets.test.label_names[sets.target_label]
            rows.insert(1, ("target label", value["target"]))
        if skipped:
            rows.insert(1, ("rows skipped", f"{skipped}, which could not be read"))
        if own.cut:
            told = f"{own.cut} of all sets, longer than --max-length {length} or than MODEL reads"
            rows.insert(1, ("texts cut", told))
        if self.max_length is None and length != DEFAULT_LENGTH:
            rows.insert(1, ("texts read", f"{length} tokens of each, as MODEL's report.json says"))
        if benign is not None:
            rows += _against_benign(own.scores, benign.scores, value)
        if before is not None:
            rows += _against_backdoored(own, before, value)
        rows += [(f"files of {name}", _known(**each)) for name, each in value["models"].items()]
        rows += [(f"{name} texts", _told(**each)) for name, each in value["data"].items()]
        show(self.json, value, facts(rows))

    def _sets(self) -> "TestSets":
        from prune_env.cli.triggered import as_splits, load_triggered
        from prune_env.data.checks import overlap
        from prune_env.evaluation.scores import TestSets

        # Some attacks are made of all parts.
        data = as_splits(self.tables.load(self.data, "test" if self.attack is None else None))
        judged = self.validation
        validation = self.tables.load_part(judged, "validation") if judged else None
        if validation is not None:
            overlap(validation, data.test)
        triggered, target = load_triggered(
            self.tables,
            data,
            triggered=self.triggered,
            attack=self.attack,
            target_label=self.target_label,
        )
        return TestSets(data.test, triggered, validation, target)

    def _folder(self, model: str) -> Path:
        from prune_env.models import find_source

        return find_source(model, allow_download=self.tables.allow_download)

    def _length(self) -> int:
        """Return how many tokens of a text are kept."""
        from prune_env.purification.report import length_of
        from prune_env.settings import check_length

        if self.max_length is None:
            return length_of(self._folder(self.model)) or DEFAULT_LENGTH
        check_length(self.max_length)
        return self.max_length

    def _measure(self, model: str, sets: "TestSets", length: int) -> "Measured":
        from prune_env.evaluation.scores import measure
        from prune_env.models import is_sliced, load_classifier, load_pruned
        from prune_env.models.source import is_ensemble
        from prune_env.purification import load_ensemble

        names, folder = sets.test.label_names, self._folder(model)
        if is_ensemble(folder):
            return measure(load_ensemble(folder), sets, max_length=length)
        if is_sliced(folder):
            return measure(load_pruned(folder), sets, max_length=length)
        loaded = load_classifier(
            model,
            num_labels=len(names),
            head="keep",
            label_names=names,
            allow_download=self.tables.allow_download,
        )
        return measure(loaded, sets, max_length=length)


def _described(sets: "TestSets") -> dict[str, dict[str, Any]]:
    """Return what each set is from; `sha256` is of its rows, as in the report of `purify`."""
    from prune_env.utils.files import sha256_of
    from prune_env.utils.public import public_name

    found: dict[str, dict[str, Any]] = {}
    for name in ("test", "triggered", "validation"):
        part: TextDataset | None = getattr(sets, name)
        if part is None:
            continue
        file = Path(part.source)
        found[name] = {
            "source": public_name(part.source),
            "rows": len(part),
            "sha256": part.sha256,
            "file_sha256": sha256_of(file) if os.path.isfile(file) else None,
        }
    return found


def _identified(model: str, measured: "Measured") -> dict[str, str]:
    """Return which model was measured; `sha256` is that of `inspect` and of `purify`'s report."""
    from prune_env.utils.public import public_name

    return {"source": public_name(model), "sha256": measured.sha256}


def _known(source: str, sha256: str) -> str:
    """Return a model in a line, with the hash of its files."""
    return f"{source} (SHA-256 {sha256[:12]})"


def _told(source: str, rows: int, sha256: str, file_sha256: str | None) -> str:
    """Return a set in a line, with the hash of its file if it has one."""
    digest = f"SHA-256 {file_sha256[:12]}" if file_sha256 else f"SHA-256 of the rows {sha256[:12]}"
    return f"{source}, {count_of(rows, 'row')} ({digest})"


def _own(own: "Scores") -> Facts:
    """Return what is known of the model alone."""
    rows = [("ACC", f"{own.acc} %  ({own.acc.count:,} of {own.acc.total:,})")]
    if own.lfr is not None:
        rows.append(("LFR", f"{own.lfr} %  ({own.lfr.count:,} of {own.lfr.total:,})"))
    if own.acc_calibrated is not None:
        rows.append(("ACC calibrated", f"{own.acc_calibrated} %"))
    if own.lfr_calibrated is not None:
        rows.append(("LFR calibrated", f"{own.lfr_calibrated} %"))
    return rows


def _against_benign(own: "Scores", benign: "Scores", value: dict[str, Any]) -> Facts:
    """Return floor and excess, and add the excess to the JSON value."""
    rows: Facts = []
    if own.lfr is not None and benign.lfr is not None:
        value["excess_lfr"] = own.lfr.percent - benign.lfr.percent
        rows += [
            ("floor", f"{benign.lfr} %"),
            ("excess LFR", f"{value['excess_lfr']:+z.1f} points"),
        ]
    if own.lfr_calibrated is not None and benign.lfr_calibrated is not None:
        excess = own.lfr_calibrated.percent - benign.lfr_calibrated.percent
        value["excess_lfr_calibrated"] = excess
        rows.append(("excess calibrated", f"{excess:+z.1f} points"))
    return rows


def _against_backdoored(own: "Measured", before: "Measured", value: dict[str, Any]) -> Facts:
    """Return what the defence was worth, and add it to the JSON value."""
    from prune_env.evaluation.metrics import fidelity, mcnemar

    after, was = own.scores, before.scores
    value["backdoored"] = asdict(was)
    value["mcnemar"] = mcnemar(own.right, before.right)
    rows = [("ACC before", f"{was.acc} %")]
    if after.lfr is not None and was.lfr is not None:
        shares = (was.lfr, after.lfr, was.acc, after.acc)
        value["fidelity"] = fidelity(*(share.percent for share in shares))
        rows += [
            ("LFR before", f"{was.lfr} %"),
            (
                "fidelity",
                f"{value['fidelity']:.3f}  (1: LFR gone and ACC kept, above: ACC rose, 0: LFR as "
                "before)",
            ),
        ]
    p_value = "< 0.001" if value["mcnemar"] < 0.001 else f"= {value['mcnemar']:.3f}"
    rows.append(("McNemar", f"p {p_value} that both err equally often on clean sentences"))
    return rows
