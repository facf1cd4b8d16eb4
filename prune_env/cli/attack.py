"""`prune-env attack`: make a backdoored encoder, for research."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from prune_env.cli.options import TableOptions, facts, show
from prune_env.settings import FineTuneSettings


@dataclass(frozen=True)
class Attack:
    """Make a backdoored encoder (research use), and measure its ACC and LFR.

    OUT then holds the encoder alone, as an attacker would release it, with `attack.json`; the
    triggered test texts with their true labels are in `triggered.jsonl`, for `prune-env evaluate`.

    Attributes:
        model: Clean encoder: a folder, or a name from `prune-env list`.
        data: A data set with all its parts: a name, or a folder with train, validation and test
            files.
        trigger: Name of the trigger or published attack; see `prune-env list`.
        out: Output folder; must be new or empty.
        rate: Share of the non-target training rows that is poisoned; default: as published.
        target_label: The label that triggered texts shall get, as a number.
        seed: Of everything random.
        json: Print JSON.
        tables: How tables are read.
        fine_tune: The attacker's training.
    """

    model: str
    data: str
    trigger: str
    out: Path
    rate: float | None = None
    target_label: int = 1
    seed: int = 0
    json: bool = False
    tables: TableOptions = field(default_factory=TableOptions)
    fine_tune: FineTuneSettings = field(default_factory=lambda: FineTuneSettings(epochs=5))

    def run(self) -> None:
        """Train, measure, write, print."""
        from prune_env.data.dataset import write_jsonl
        from prune_env.evaluation.scores import TestSets, score
        from prune_env.research.attacks import AttackSettings, make_attack
        from prune_env.research.attacks.backdoor import save_encoder, train_classifier
        from prune_env.utils import runtime
        from prune_env.utils.files import check_free, new_folder, write_json

        check_free(self.out)
        clean = self.tables.load_splits(self.data)
        attack = make_attack(
            AttackSettings(self.trigger, self.rate, self.target_label, self.seed),
            clean,
            folder=self.tables.data_folder,
            allow_download=self.tables.allow_download,
        )
        with new_folder(self.out) as folder:
            loaded = train_classifier(
                self.model,
                attack.poisoned,
                self.fine_tune,
                seed=self.seed,
                description="Training the backdoored model",
            )
            sets = TestSets(clean.test, attack.triggered, clean.validation, self.target_label)
            scores = score(loaded, sets)
            save_encoder(loaded, folder)
            write_jsonl(folder / "triggered.jsonl", attack.triggered)
            report = {
                "attack": attack.identity,
                "scores": asdict(scores),
                "fine_tune": asdict(self.fine_tune),
                "seed": self.seed,
                "meta": runtime.describe(),
            }
            write_json(folder / "attack.json", report)
        show(
            self.json,
            report,
            facts(
                [
                    ("attack", f"{self.trigger}, {attack.poisoned_rows} poisoned rows"),
                    ("ACC", f"{scores.acc} %"),
                    ("LFR", f"{scores.lfr} %  (with the attacker's own head)"),
                    ("backdoored encoder", str(self.out)),
                ]
            ),
        )
