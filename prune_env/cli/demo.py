"""`prune-env demo`: attack a real pre-trained model, purify it, print what it was worth."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from prune_env.cli.options import TableOptions, show
from prune_env.cli.watch.serve import beside
from prune_env.settings import FineTuneSettings, Healing, Protocol, SearchSettings


@dataclass(frozen=True)
class Demo:
    """Backdoor a model, purify it in several ways, and compare.

    By default all of it is on data and a model that pip installs: MiniLM-L6 and Rotten Tomatoes.

    Attributes:
        out: Run folder; default: a new one in runs/.
        model: Clean encoder that is attacked: a folder, or a name from `prune-env list`.
        data: A data set with all its parts: a name, or a folder.
        attack: Name of the attack.
        rate: Share of the negatives that is poisoned; default: as published.
        policies: Who chooses the heads.
        protocols: What is done with each mask.
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
    policies: tuple[str, ...] = ("gradient", "epsilon-greedy")
    protocols: tuple[Protocol, ...] = ("direct", "refinetune")
    healed: tuple[str, ...] = ("ft",)
    healings: tuple[Healing, ...] = ("unlearn", "refit-unlearn")
    train_sentences: int = 1600
    attacker_epochs: int = 4
    seed: int = 0
    json: bool = False
    watch: bool = False
    tables: TableOptions = field(default_factory=TableOptions)
    search: SearchSettings = field(
        default_factory=lambda: SearchSettings(budget=60, importance_sentences=400)
    )
    fine_tune: FineTuneSettings = field(default_factory=FineTuneSettings)

    def run(self) -> None:
        """Run the experiment, a line a row as it comes, and the table in the end."""
        from dataclasses import replace

        from rich.console import Console

        from prune_env.research.attacks import AttackSettings
        from prune_env.research.attacks.backdoor import ModelSettings
        from prune_env.research.benchmark.experiment import ExperimentSettings, run_experiment
        from prune_env.research.benchmark.rows import ResultRow, table, treatment
        from prune_env.utils.output import try_place

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
            protocols=self.protocols,
            healed=self.healed,
            healings=self.healings,
            search=self.search,
        )
        clean = self.tables.load_splits(self.data)
        out.mkdir(parents=True, exist_ok=True)
        console = Console(stderr=True)
        rows: list[ResultRow] = []

        def on_row(row: ResultRow) -> None:
            rows.append(row)
            done = treatment(row)
            name = f"{row.policy} ({done})" if done else row.policy
            flipped = "" if row.lfr is None else f", LFR {row.lfr:.1f}"
            console.print(
                f"{name}: ACC {row.acc:.1f}{flipped}  [dim]{row.seconds:.0f} s[/]", highlight=False
            )

        with beside(out, self.watch):
            result = run_experiment(
                settings, clean, out, sources=self.tables.attack_sources(), on_row=on_row
            )
        title = f"{self.attack} on {self.data}, seed {self.seed} (percent; excess = LFR - floor)"
        show(self.json, result, table(rows, title), f"Run folder: {out}")
