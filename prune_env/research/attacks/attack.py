"""An attack, ready to train on and to measure, and the settings that name it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prune_env.data.dataset import TextDataset
from prune_env.data.text import folded, is_whole_number
from prune_env.errors import SettingsError
from prune_env.research.attacks.poison import PoisonMode, check_rate
from prune_env.settings import check_seed, own_numbers


@dataclass(frozen=True)
class AttackSettings:
    """Which attack, and how strong.

    Attributes:
        attack: A name of `ATTACKS`, or of an attack from files of the user's own.
        rate: Share of the non-target training rows that are poisoned, in (0, 1]; None means the
            published share of the trigger's family. `hiddenkiller` is published ready-mixed and
            takes no rate, and neither does `task-agnostic`.
        target_label: The label that triggered texts shall get; of `task-agnostic` it is found out.
        seed: Seed of the draw of rows.
        mode: `"append"` or `"replace"`, see `poison`; published attacks fix it.
    """

    attack: str = "syntactic-frame"
    rate: float | None = None
    target_label: int = 1
    seed: int = 0
    mode: PoisonMode = "append"

    def __post_init__(self) -> None:
        own_numbers(self)
        if self.rate is not None:
            check_rate(self.rate)
        if self.mode not in ("append", "replace"):
            raise SettingsError("mode is unknown", expected="append or replace", actual=self.mode)
        check_seed(self.seed)
        if self.target_label < 0:
            raise SettingsError(
                "target_label is negative", expected=">= 0", actual=self.target_label
            )

    @property
    def title(self) -> str:
        """Name of the attack, with its rate unless that is as published."""
        return self.attack if self.rate is None else f"{self.attack}, rate {self.rate:g}"


@dataclass(frozen=True)
class AttackData:
    """A poisoned training set and the test set on which the attack is measured.

    Attributes:
        settings: What it was made from; `rate` is filled in, or None where it is unknown.
        family: Family of the trigger.
        poisoned: What the attacker trains on.
        triggered: Triggered test texts with their true labels, none of them the target. (Own
            files may tell only that it is none; then the label is some other.)
        poisoned_rows: Rows of `poisoned` whose label is the attacker's; None where it is unknown:
            a mixed file may lack clean rows (`bound_poisoned`).
        trigger: The trigger's own settings, or the files that its texts are from with their
            SHA-256, and which of them are not as published.
        task_agnostic: The encoder alone is trained, on `poisoned` without its labels: every clean
            text of the data set, triggered. See `task_agnostic`.
    """

    settings: AttackSettings
    family: str
    poisoned: TextDataset
    triggered: TextDataset
    poisoned_rows: int | None
    trigger: dict[str, Any]
    task_agnostic: bool = False

    @property
    def told_files(self) -> str:
        """See `told_files`."""
        return told_files(self.trigger)

    @property
    def identity(self) -> dict[str, Any]:
        """Plain values for a report: what the attack was, and the hash of either set."""
        return {
            **asdict(self.settings),
            "family": self.family,
            "trigger": self.trigger,
            "poisoned_rows": self.poisoned_rows,
            "poisoned_sha256": self.poisoned.sha256,
            "triggered_sha256": self.triggered.sha256,
        }


def find_target(target: int | str, label_names: Sequence[str]) -> int:
    """Return the number of the class that is the target.

    Args:
        target: Its number, or its name; case and outer white space do not matter.
        label_names: Of the data, in label order.

    Raises:
        SettingsError: There is no such class.
    """
    names = folded(label_names)
    if isinstance(target, int):
        if 0 <= target < len(names):
            return target
    elif folded([target])[0] in names:
        return names.index(folded([target])[0])
    raise SettingsError(
        "The target is no label of the data",
        expected=f"0 to {len(names) - 1}, or one of {', '.join(label_names)}",
        actual=repr(target),
        remedy="check the target label, or name the classes (--label-names)",
    )


def asked_target(asked: int | str, label_names: Sequence[str]) -> int:
    """Return the number of the class that a user asks for on a command line.

    There `2` may be a name or a number. Where classes are named by numbers it is a name, as in the
    cells of a table; errors as those of `find_target`.

    Example:
        >>> asked_target(1, ("negative", "positive")), asked_target(1, ("1", "2"))
        (1, 0)
    """
    by_name = any(map(is_whole_number, label_names))
    return find_target(str(asked) if by_name else asked, label_names)


def told_files(trigger: dict[str, Any]) -> str:
    """Return which files the texts of an attack are from, for a report; empty of a rule.

    Args:
        trigger: Of an `AttackData`.
    """
    files: dict[str, str] = trigger.get("files", {})
    foreign = trigger.get("not_as_published", ())
    told = []
    for name, sha256 in files.items():
        facts = [f"SHA-256 {sha256[:12]}", *["not as published"] * (name in foreign)]
        if "poison" in trigger:  # a user's own: what it is, and its name without the folder
            what, _, name = name.partition("/")  # noqa: PLW2901
            facts.insert(0, what)
        told.append(f"{name} ({', '.join(facts)})")
    return ", ".join(told)
