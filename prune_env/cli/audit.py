"""`prune-env audit`: which rewards rank masks as the hidden LFR does."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from prune_env.cli.options import (
    TARGET_ALIAS,
    MachineOptions,
    TableOptions,
    as_it_is,
    printable_lines,
    show,
)
from prune_env.errors import SettingsError
from prune_env.utils.counts import count_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from prune_env.data.dataset import Splits, TextDataset
    from prune_env.env.subject import Subject
    from prune_env.research.audit import AuditResult, AuditSettings

log = logging.getLogger(__name__)

REWARDS = (
    "inverted-trigger",
    "latent-trigger",
    "surrogate",
    "flips-word-drop",
    "flips-shuffle",
    "flips-clause",
    "flips-sentence",
    "flips-rare-words",
    "flips-old-words",
    "split-agreement",
    "consistency",
    "layer-consistency",
    "entropy",
    "accuracy",
    "sparsity",
)


KEPT = "What is measured stays; the same command goes on."


@dataclass(frozen=True)
class Audit:
    """Judge rewards, which see clean data only, by the hidden LFR.

    For research, never a defence. Draws masks of the classifier at many sizes (random ones, and
    along the paths of policies) and prints the rank correlation of each reward with the hidden LFR:
    plain, calibrated, at fixed accuracy, at a fixed number of heads and at fixed lean. OUT holds
    report.md with a scatter plot of each reward, audit.json, and masks.json with every value: the
    same command goes on there.

    Attributes:
        model: Folder of a fine-tuned classifier that holds a backdoor.
        out: Run folder.
        rewards: Names (see `prune-env list --kind rewards`) or formulas, with commas; default:
            every reward that needs no trigger.
        masks: Masks drawn, the unpruned model included; 8 at least.
        paths: Policies along whose paths half of the masks are drawn; default: the fixed orders and
            greedy.
        triggered: Triggered texts with their true labels; rows of the target label are left out.
            If every row has it, the column tells the attacker's label.
        data: Clean data: a named data set, or a folder or table.
        attack: Instead of `triggered`: name of the attack, whose triggered test texts are made.
        target_label: The attacker's label, by name or as a number; of `--attack task-agnostic` it
            must be given (default: 1)
        max_drop: A mask counts as usable if it costs at most this much validation accuracy.
        seed: Of the masks.
        json: Print JSON.
        machine: What of the machine it may use.
        tables: How tables are read.
    """

    model: str
    out: Path
    rewards: str = ",".join(REWARDS)
    masks: int = 200
    paths: str | None = None
    triggered: str | None = None
    data: str = "rotten-tomatoes"
    attack: str | None = None
    target_label: Annotated[int | str | None, TARGET_ALIAS] = None
    max_drop: float = 0.03
    seed: int = 0
    json: bool = False
    machine: MachineOptions = field(default_factory=MachineOptions)
    tables: TableOptions = field(default_factory=TableOptions)

    @property
    def online(self) -> bool:
        """Whether libraries may reach for the network."""
        return self.tables.allow_download

    def run(self) -> None:
        """Audit, write the run folder and print the table."""
        from prune_env.cli.triggered import clean_parts, ready_subject
        from prune_env.env.rewards.reward import make_reward
        from prune_env.research.attacks.align import evaluate_triggered
        from prune_env.research.audit import audit, write_report
        from prune_env.research.audit.report import plain
        from prune_env.utils.full_disk import disk_told

        settings = self._settings()
        self._check(settings)
        splits = clean_parts(self.tables, self.data, self.attack)
        if self.rewards != ",".join(REWARDS):  # of the default, what has no such data is left out
            for reward in settings.rewards:
                make_reward(reward).check_data(splits.train, splits.validation)
        hidden, label = self._hidden(splits)
        settings = replace(settings, target_label=label)
        subject = ready_subject(self.model, splits, self.tables)
        if self.rewards == ",".join(REWARDS):
            settings = replace(settings, rewards=_defined(settings.rewards, subject))
        evaluator, target = evaluate_triggered(subject, hidden, label)
        values = self.out / "masks.json"
        with disk_told(self.out, lambda: KEPT if values.exists() else ""):
            result = audit(subject, evaluator, settings, values, target=target)
            model = subject.require_suspect().loaded.sha256
            facts = self._facts(model, splits.validation, hidden, target)
            write_report(result, self.out, facts)
        show(self.json, plain(result), _page(result), f"Report: {self.out / 'report.md'}")

    def _settings(self) -> "AuditSettings":
        from prune_env.env.subject import split_names
        from prune_env.research.audit import AuditSettings
        from prune_env.research.audit.masks import PATHS

        return AuditSettings(
            rewards=split_names(self.rewards),
            masks=self.masks,
            paths=PATHS if self.paths is None else split_names(self.paths),
            max_drop=self.max_drop,
            seed=self.seed,
        )

    def _check(self, settings: "AuditSettings") -> None:
        """Find out what is wrong before anything is read or measured.

        Raises:
            SettingsError: OUT cannot be written, a reward cannot be read or reads the trigger, or a
                policy prunes nothing.
            UnknownNameError: No reward or policy has a name.
            StateError: Another process audits into OUT.
        """
        from prune_env.cli.triggered import refuse_oracle
        from prune_env.env.rewards.reward import make_reward
        from prune_env.research.audit.audit import DOING
        from prune_env.research.audit.masks import check_paths
        from prune_env.utils.leases import check_alone
        from prune_env.utils.output import check_writable

        check_writable(self.out / "masks.json")
        refuse_oracle(self.rewards, "an audit")
        for reward in settings.rewards:
            make_reward(reward)
        check_paths(settings.paths)
        check_alone(self.out / "masks.json", f"{DOING} {self.out}")

    def _hidden(self, clean: "Splits") -> "tuple[TextDataset, int]":
        """Return the triggered texts, of which none has the target label, and that label."""
        from prune_env.cli.triggered import load_triggered

        hidden, target = load_triggered(
            self.tables,
            clean,
            triggered=self.triggered,
            attack=self.attack,
            target_label=self.target_label,
        )
        if hidden is None:
            raise SettingsError(
                "An audit needs to know the hidden LFR",
                expected="either --triggered FILE or --attack NAME",
                actual="neither",
            )
        return hidden, target

    def _facts(
        self, sha256: str, validation: "TextDataset", hidden: "TextDataset", target: int
    ) -> dict[str, Any]:
        from prune_env.utils.runtime import describe

        return {
            "model": printable_lines(self.model),
            "model_sha256": sha256,
            "clean": validation.source,
            "clean_sha256": validation.sha256,
            "triggered": f"{hidden.source} ({count_of(len(hidden), 'text')})",
            "triggered_sha256": hidden.sha256,
            "target": validation.label_names[target],
            "seed": self.seed,
            "meta": describe(),
        }


def _defined(rewards: Sequence[str], subject: "Subject") -> tuple[str, ...]:
    """Return the rewards, which nobody asked for by name, that are defined for such data."""
    from prune_env.env.rewards.reward import make_reward

    kept = []
    for name in rewards:
        try:
            make_reward(name).check(subject)
        except SettingsError as error:
            log.warning("%s is left out: %s", name, error.args[0])
        else:
            kept.append(name)
    return tuple(kept)


def _page(result: "AuditResult") -> "RenderableType":
    """Return the table of correlations for a terminal."""
    from rich.table import Table

    from prune_env.research.audit.report import table

    head, *rows = table(result)
    # On 100 columns every heading and every end of an interval is whole.
    page = Table(
        title=f"Rank correlation with the hidden LFR, {count_of(len(result.masks), 'mask')}",
        padding=(0, 0),
    )
    for name in head:
        first = name == "reward"
        page.add_column(
            _short(name), justify="left" if first else "right", no_wrap=first, overflow="fold"
        )
    for row in rows:
        page.add_row(as_it_is(row[0]), *(_on_lines(cell) for cell in row[1:]))
    return page


def _short(heading: str) -> str:
    """Return the heading of a column in shorter words."""
    for word, short in (("calibrated", "cal."), ("accuracy", "acc."), ("number of ", "")):
        heading = heading.replace(word, short)
    return heading


def _on_lines(cell: str) -> str:
    """Return a value and the ends of its interval, a line each: together they are too wide."""
    return cell.replace(" [", "\n[", 1).replace(", ", ",\n", 1)
