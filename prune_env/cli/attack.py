"""`prune-env attack`: make a backdoored encoder, for research."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from prune_env.cli.options import TARGET_ALIAS, MachineOptions, TableOptions, facts, show
from prune_env.errors import SettingsError
from prune_env.research.attacks.own_files import PoisonFile
from prune_env.settings import FineTuneSettings
from prune_env.utils.counts import count_of

if TYPE_CHECKING:
    from prune_env.data.dataset import Splits, TextDataset
    from prune_env.research.attacks import AttackData

OWN = "own-files"
"""What an attack from files is called unless `--trigger` says otherwise."""


@dataclass(frozen=True)
class Attack:
    """Make a backdoored encoder, and measure its ACC and LFR.

    OUT then holds the encoder alone, as an attacker would release it, with `attack.json`; the
    triggered test texts with their true labels are in `triggered.jsonl`, for `prune-env evaluate`
    with the same options on tables.

    The attack is a rule or a published one (`--trigger NAME`), or one from files: `--poisoned FILE
    --triggered FILE --target N`. All options on tables hold for these files too.

    Attributes:
        model: Clean encoder: a folder, or a name from `prune-env list`.
        data: A data set with all its parts: a name, or a folder with train, validation and test
            files.
        out: Output folder; must be new or empty.
        trigger: Name of the trigger or published attack, see `prune-env list`; of an attack from
            files, what reports shall call it, which is no name of these.
        poisoned: File of poisoned training rows.
        triggered: File of triggered test texts with their true labels; rows of the target label
            are left out. If every row has it, the column tells the attacker's label.
        poison: `mixed`: the poisoned file is the whole training set. `added`: it holds triggered
            texts alone, of which a share gets the target label and is added to the clean rows.
        rate: Share of the non-target training rows that is poisoned; default: as published.
        target_label: The label that triggered texts shall get, by name or as a number.
        seed: Of everything random.
        json: Print JSON.
        machine: What of the machine it may use.
        tables: How tables are read.
        fine_tune: The attacker's training.
    """

    model: str
    data: str
    out: Path
    trigger: str | None = None
    poisoned: Path | None = None
    triggered: Path | None = None
    poison: PoisonFile = "mixed"
    rate: float | None = None
    target_label: Annotated[int | str, TARGET_ALIAS] = 1
    seed: int = 0
    json: bool = False
    machine: MachineOptions = field(default_factory=MachineOptions)
    tables: TableOptions = field(default_factory=TableOptions)
    fine_tune: FineTuneSettings = field(default_factory=lambda: FineTuneSettings(epochs=5))

    @property
    def online(self) -> bool:
        """Whether libraries may reach for the network."""
        return self.tables.allow_download

    def run(self) -> None:
        """Train, measure, write, print."""
        from prune_env.evaluation.scores import TestSets, score
        from prune_env.models.catalog import find_source
        from prune_env.research.attacks.backdoor import release
        from prune_env.utils import runtime
        from prune_env.utils.files import new_folder, write_json
        from prune_env.utils.output import check_free, check_writable, require_outside

        require_outside(self.out, self.model)
        check_free(self.out)
        check_writable(self.out)
        clean = self.tables.load_splits(self.data)
        attack = self._make(clean)
        source: str | Path = self.model
        if self.online:
            source = find_source(source, allow_download=True)
        with new_folder(self.out) as folder:
            loaded, attack = release(source, clean, attack, folder, self.fine_tune, seed=self.seed)
            target = attack.settings.target_label
            sets = TestSets(clean.test, attack.triggered, clean.validation, target)
            scores = score(loaded, sets, max_length=self.fine_tune.max_length)
            _write_triggered(folder, attack.triggered, self.tables.like(clean.test).columns)
            report = {
                "attack": attack.identity,
                "scores": asdict(scores),
                "fine_tune": asdict(self.fine_tune),
                "seed": self.seed,
                "meta": runtime.describe(),
            }
            write_json(folder / "attack.json", report)
        rows, rate = attack.poisoned_rows, attack.settings.rate
        poisoned = "" if rows is None else count_of(rows, "poisoned row")
        strength = f"{poisoned}, rate {rate:.3g}" if rate else "rate unknown"
        owner = "a victim" if attack.task_agnostic else "the attacker"
        show(
            self.json,
            report,
            facts(
                [
                    ("attack", f"{attack.settings.attack}, {strength}"),
                    *([("texts", attack.told_files)] if attack.told_files else []),
                    ("ACC", f"{scores.acc} %"),
                    ("target", clean.test.label_names[target]),
                    ("LFR", f"{scores.lfr} %  (with {owner}'s own head)"),
                    ("backdoored encoder", str(self.out)),
                ]
            ),
        )

    def _make(self, clean: "Splits") -> "AttackData":
        """Make the attack, of a catalogued name or from files."""
        from prune_env.research.attacks import (
            AttackFiles,
            AttackSettings,
            asked_target,
            make_attack,
        )

        files = (self.poisoned, self.triggered)
        if (None in files) if self.trigger is None else (files.count(None) == 1):
            raise SettingsError(
                "An attack is named or comes from files",
                expected="--trigger NAME, or --poisoned FILE and --triggered FILE",
                actual=f"--trigger {self.trigger}, --poisoned {self.poisoned}, "
                f"--triggered {self.triggered}",
            )
        name, own = self.trigger or OWN, []
        target = asked_target(self.target_label, clean.train.label_names)
        if self.poisoned is not None and self.triggered is not None:
            paths = str(self.poisoned), str(self.triggered)
            own.append(AttackFiles(name, *paths, target, self.poison))
        settings = AttackSettings(name, self.rate, target, self.seed)
        return make_attack(settings, clean, self.tables.attack_sources(own))


def _write_triggered(folder: Path, texts: "TextDataset", columns: Sequence[str]) -> None:
    """Write the triggered test set; images too, so that the folder can be moved away."""
    from prune_env.data.dataset import write_jsonl
    from prune_env.data.images import ImageDataset

    if isinstance(texts, ImageDataset):
        place = folder / "triggered"
        place.mkdir()
        names = [f"{row:05d}{Path(path).suffix}" for row, path in enumerate(texts.texts)]
        for path, name in zip(texts.texts, names, strict=True):
            shutil.copyfile(path, place / name)
        texts = replace(texts, texts=tuple(f"{place.name}/{name}" for name in names))
    write_jsonl(folder / "triggered.jsonl", texts, columns)
