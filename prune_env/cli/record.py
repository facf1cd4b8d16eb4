"""`prune-env record`: many masks of a model in one file, to be played without the model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from prune_env.cli.options import TARGET_ALIAS, MachineOptions, TableOptions, facts, show
from prune_env.settings import Pruned, UnitSettings
from prune_env.utils.counts import count_of

if TYPE_CHECKING:
    from prune_env.env.rewards.reward import WeightedSum
    from prune_env.env.subject import Subject
    from prune_env.evaluation import MaskEvaluator
    from prune_env.research.recording.table import MaskTable


@dataclass(frozen=True)
class Record:
    """Measure many masks of a classifier, into one file.

    Of each mask: accuracy on clean validation data, the rewards, and the LFR, raw and calibrated,
    where an attack is named (research, never a defence). Masks are random ones of all sizes, those
    that orders by importance walk through, and neighbours of good ones. The same command goes on
    with a file that is there, and more `--masks` adds to it. A surrogate of the file answers
    without the model: `gym.make("prune_env/Recorded-v0", model="surrogate.npz")`.

    Attributes:
        model: Folder of a fine-tuned classifier.
        out: The file, `.npz`.
        surrogate: Also fit a surrogate, into this `.npz`, and print its fidelity on masks held out.
        minari: Also write a Minari data set of this name, such as prune/mine-v0, for agents that
            learn offline (extra `minari`): its episodes are ways to recorded masks, as the
            surrogate answers.
        episodes: Episodes of that data set, at most one a mask.
        masks: Masks in all, the unpruned model included.
        rewards: Names of rewards that need no trigger, with commas.
        units: What a mask chooses from: attention heads; or `hybrid`, also groups of feed-forward
            neurons and strengths of linear maps, as `purify --units hybrid` has them.
        data: Clean data: a named data set, or a folder or table.
        triggered: Triggered texts with their true labels; rows of the target label are left out.
            If every row has it, the column tells the attacker's label.
        attack: Instead of `triggered`: name of the attack, whose triggered test texts are made.
        target_label: The attacker's label, by name or as a number; of `--attack task-agnostic` it
            must be given (default: 1)
        seed: Of the draw of masks.
        json: Print JSON.
        machine: What of the machine it may use.
        tables: How tables are read.
    """

    model: str
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    surrogate: Path | None = None
    minari: str | None = None
    episodes: int = 1_000
    masks: int = 20_000
    rewards: str = "inverted-trigger"
    units: Pruned = "heads"
    data: str = "rotten-tomatoes"
    triggered: str | None = None
    attack: str | None = None
    target_label: Annotated[int | str | None, TARGET_ALIAS] = None
    seed: int = 0
    json: bool = False
    machine: MachineOptions = field(default_factory=MachineOptions)
    tables: TableOptions = field(default_factory=TableOptions)

    @property
    def online(self) -> bool:
        """Whether libraries may reach for the network."""
        return self.tables.allow_download

    def run(self) -> None:
        """Record, and say what the file holds."""
        from prune_env.research.recording.fitting import fit_surrogate
        from prune_env.research.recording.recording import Recording

        rewards = self._check()
        subject, triggered, target, about = self._parts(rewards)
        recording = Recording(
            subject,
            rewards,
            triggered=triggered,
            target=target,
            seed=self.seed,
            facts=about,
        )
        table = recording.run(self.out, self.masks)
        fidelity = None if self.surrogate is None else fit_surrogate(table, self.surrogate)
        rows = [*_facts(table), ("record", str(self.out))]
        if fidelity is not None:
            each = ", ".join(f"{name} {value:.3f}" for name, value in fidelity.items())
            rows += [("fidelity (Spearman)", each), ("surrogate", str(self.surrogate))]
        told = {**_plain(table), "fidelity": fidelity}
        if self.minari is not None and self.surrogate is not None:
            from prune_env.research.recording.offline import write_minari

            episodes = write_minari(table, self.surrogate, self.minari, episodes=self.episodes)
            rows.append(("Minari data set", f"{self.minari}, {count_of(episodes, 'episode')}"))
            told["minari_episodes"] = episodes
        show(self.json, told, facts(rows))

    def _check(self) -> "dict[str, WeightedSum]":
        """Find out what is wrong before anything is read or measured; return the rewards by name.

        Raises:
            SettingsError: A number is too small, a file or a reward cannot be made, or the Minari
                data set cannot.
            UnknownNameError: No reward has this name.
            StateError: The file is that of another recording, or another process records into it.
            OutputExistsError: There is a Minari data set of this name.
        """
        from prune_env.cli.triggered import refuse_oracle
        from prune_env.env.arguments import whole_number
        from prune_env.env.subject import split_names
        from prune_env.errors import SettingsError
        from prune_env.research.recording.fitting import LEAST, check_places
        from prune_env.research.recording.recording import check_goes_on, check_rewards
        from prune_env.research.recording.table import read_record

        check_places(self.out, self.surrogate)
        whole_number("masks", self.masks, 1)
        whole_number("episodes", self.episodes, 1)
        if self.surrogate is not None and self.masks < LEAST:
            # A record that is there may hold more masks than are asked for.
            held = len(read_record(self.out).masks) if self.out.exists() else 0
            if held < LEAST:
                raise SettingsError(
                    "A surrogate needs more masks",
                    expected=f"--masks {LEAST}",
                    actual=f"--masks {self.masks}" + f", {held} in {self.out}" * (held > 0),
                )
        refuse_oracle(self.rewards, "a record")
        rewards = check_rewards(split_names(self.rewards))
        check_goes_on(self.out, tuple(rewards), self.seed)
        self._check_minari()
        return rewards

    def _check_minari(self) -> None:
        """Find out before the work whether a Minari data set can be written.

        Raises:
            SettingsError: There is no surrogate to play on, no such package, or no such name.
            OutputExistsError: There is a data set of this name.
        """
        if self.minari is None:
            return
        from prune_env.errors import SettingsError
        from prune_env.research.recording.offline import check_minari

        if self.surrogate is None:
            raise SettingsError(
                "The episodes of a Minari data set are played on a surrogate",
                expected="--surrogate FILE beside --minari",
            )
        check_minari(self.minari)

    def _parts(
        self, rewards: "dict[str, WeightedSum]"
    ) -> "tuple[Subject, MaskEvaluator | None, int, dict[str, Any]]":
        """Return the model, its triggered texts if an attack is known, the target, and facts."""
        from prune_env.cli.triggered import clean_parts, load_triggered, ready_subject
        from prune_env.env.hybrid import with_units
        from prune_env.importance.registry import UNIT_METRICS
        from prune_env.research.attacks.align import evaluate_triggered

        splits = clean_parts(self.tables, self.data, self.attack)
        for reward in rewards.values():
            reward.check_data(splits.train, splits.validation)
        hidden, label = load_triggered(
            self.tables,
            splits,
            triggered=self.triggered,
            attack=self.attack,
            target_label=self.target_label,
        )
        subject = ready_subject(self.model, splits, self.tables)
        if self.units == "hybrid":
            subject = with_units(subject, UNIT_METRICS, UnitSettings())
        told = {"name": subject.name, "clean": splits.validation.source, "hidden": None}
        if hidden is None:
            return subject, None, label, told
        evaluator, target = evaluate_triggered(subject, hidden, label)
        return subject, evaluator, target, {**told, "hidden": hidden.source}


def _plain(table: "MaskTable") -> dict[str, Any]:
    return {
        "masks": len(table.masks),
        "unpruned": {name: float(column[0]) for name, column in table.columns.items()},
        **table.identity,
    }


def _facts(table: "MaskTable") -> list[tuple[str, str]]:
    count = count_of(int(table.available.sum()), "head" if table.units.heads_only else "unit")
    rows = [("masks", f"{len(table.masks):,}, {count}")]
    for name, column in table.columns.items():
        rows.append((name, f"{column.min():.3f} to {column.max():.3f}, unpruned {column[0]:.3f}"))
    return rows
