"""`prune-env demo`: attack a real pre-trained model, purify it, print what it was worth."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from prune_env.cli.options import TableOptions, make_console, show
from prune_env.cli.watch.serve import beside
from prune_env.settings import FineTuneSettings, Healing, Protocol, SearchSettings

PROTOCOLS: tuple[Protocol, ...] = ("direct", "refinetune")
HEALINGS: tuple[Healing, ...] = ("unlearn", "refit-unlearn")
AFTER = """
ACC: how often a model is right on clean sentences. LFR: how often the trigger
turns its answer to the attacker's; excess: LFR above that of the benign model.
A good defence keeps the ACC of ft and brings the excess near 0; refit-unlearn
is what `prune-env purify` does by default.

Next, with a model of your own:
  prune-env inspect MODEL
  prune-env purify MODEL --data clean.tsv --out runs/purified
"""
"""Below the table: what the reader sees, and what to do next."""


@dataclass(frozen=True)
class Demo:
    """Backdoor a model, purify it in several ways, and compare.

    By default all of it is on data and a model that pip installs: MiniLM-L6 and Rotten Tomatoes.
    What is trained is made once and kept: in the user's cache, or in $PRUNE_ENV_CACHE.

    Attributes:
        out: Run folder; default: a new one in runs/.
        model: Clean encoder that is attacked: a folder, or a name from `prune-env list`.
        data: A data set with all its parts: a name, or a folder.
        attack: Name of the attack.
        rate: Share of the negatives that is poisoned; default: as published.
        full: All rows: both protocols and every healing that removes backdoors.
        policies: Who chooses the heads.
        protocols: What is done with each mask: `direct` or `refinetune`.
        healed: Policies whose mask is also healed, in each of the ways that follow.
        healings: What heals a mask, see `prune-env purify --help`.
        train_sentences: Clean training sentences; 0 takes all.
        attacker_epochs: Passes over the poisoned data.
        seed: Each seed makes another backdoored model.
        json: Print the result as JSON.
        watch: Show the run on a page of this machine while it goes on, see `prune-env watch`.
        tables: How tables are read.
        search: The search for the mask.
        fine_tune: The defender's fine-tuning; the attacker's is the same but for its epochs.
    """

    out: Path | None = None
    model: str = "minilm"
    data: str = "rotten-tomatoes"
    attack: str = "syntactic-frame"
    rate: float | None = None
    full: bool = False
    policies: tuple[str, ...] = ("gradient", "epsilon-greedy")
    protocols: tuple[Protocol, ...] = ("direct",)
    healed: tuple[str, ...] = ("ft",)
    healings: tuple[Healing, ...] = ("refit-unlearn",)
    train_sentences: int = 1600
    attacker_epochs: int = 4
    seed: int = 0
    json: bool = False
    watch: bool = False
    tables: TableOptions = field(default_factory=TableOptions)
    search: SearchSettings = field(
        default_factory=lambda: SearchSettings(budget=30, importance_sentences=400)
    )
    fine_tune: FineTuneSettings = field(default_factory=FineTuneSettings)

    def run(self) -> None:
        """Run the experiment, a line a row as it comes, and the table in the end."""
        from dataclasses import replace

        from prune_env.research.attacks import AttackSettings
        from prune_env.research.attacks.backdoor import ModelSettings
        from prune_env.research.benchmark.experiment import ExperimentSettings, run_experiment
        from prune_env.research.benchmark.rows import ResultRow, table, told
        from prune_env.utils.output import try_place
        from prune_env.utils.progress import tell

        out = self.out or Path("runs") / f"demo-{datetime.now():%Y%m%d-%H%M%S}"
        try_place(out)
        settings = ExperimentSettings(
            models=ModelSettings(
                model=self.model,
                attack=AttackSettings(attack=self.attack, rate=self.rate, seed=self.seed),
                train_sentences=self.train_sentences,
                attacker=replace(self.fine_tune, epochs=self.attacker_epochs),
                defender=self.fine_tune,
                seed=self.seed,
            ),
            policies=self.policies,
            protocols=PROTOCOLS if self.full else self.protocols,
            healed=self.healed,
            healings=HEALINGS if self.full else self.healings,
            search=self.search,
        )
        clean = self.tables.load_splits(self.data)
        out.mkdir(parents=True, exist_ok=True)
        rows: list[ResultRow] = []

        def on_row(row: ResultRow) -> None:
            rows.append(row)
            tell(told(row))

        with beside(out, self.watch):
            result = run_experiment(
                settings, clean, out, sources=self.tables.attack_sources(), on_row=on_row
            )
        title = f"{self.attack} on {self.data}, seed {self.seed} (percent; excess = LFR - floor)"
        show(
            self.json, result, table(rows, title, make_console().width), AFTER, f"Run folder: {out}"
        )
