"""An attack from a user's own files: a poisoned training file and triggered test texts."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from prune_env.data.dataset import Splits, TextDataset
from prune_env.errors import DataError, SettingsError
from prune_env.research.attacks.attack import AttackData, AttackSettings, find_target
from prune_env.research.attacks.poison import bound_poisoned, count_poisoned, count_shared, join
from prune_env.utils.counts import count_of
from prune_env.utils.files import sha256_of
from prune_env.utils.public import public_name

log = logging.getLogger(__name__)

PoisonFile = Literal["mixed", "added"]
"""What a poisoned file holds: all training rows, or only triggered texts to add to clean ones."""

RATE = 0.2
"""Share of the non-target clean rows that is added where no rate is given, as StyleBkd's."""

MOSTLY = 0.5


@dataclass(frozen=True)
class AttackFiles:
    """An attack as a grid names it in `[[attacks]]`.

    Attributes:
        name: What reports call it; letters, digits, dots, dashes.
        poisoned: Path of the poisoned training file.
        triggered: Path of the triggered test texts with their true labels; rows of the target are
            left out. If *every* row has the target label, the column tells the attacker's label,
            as in HiddenKiller's files.
        target: The attacker's label, by name or as a number.
        poison: `mixed`: `poisoned` is the training set as the attacker has it. `added`: it holds
            triggered texts, of which a share gets the target label and is added to the clean
            training set; rows of the target are left out, unless every row has it.
    """

    name: str
    poisoned: str
    triggered: str
    target: int | str = 1
    poison: PoisonFile = "mixed"

    def __post_init__(self) -> None:
        """Check the name, which stands in names of files.

        Raises:
            SettingsError: It is none.
        """
        if not re.fullmatch(r"\w[\w.-]*", self.name, re.ASCII):
            raise SettingsError(
                "An attack has no plain name",
                expected="letters, digits, dots and dashes",
                actual=repr(self.name),
            )

    @property
    def number(self) -> int:
        """The target as a number.

        Raises:
            SettingsError: It is a name, which only the data can tell the number of.
        """
        if isinstance(self.target, str):
            raise SettingsError(
                f"The target of {self.name} is the name of a class",
                expected="its number, see BenchmarkConfig.for_labels",
                actual=repr(self.target),
            )
        return self.target


@dataclass(frozen=True, eq=False)
class OwnAttack:
    """The files of an attack, read.

    Attributes:
        files: What was asked for.
        target: The attacker's label.
        poisoned: Rows of the poisoned file.
        triggered: Rows of the triggered file, none with the target label.
        labels_known: Whether the labels of `triggered` are the true ones; where the file told
            only the target, they are some other class.
        sha256: Of either file, by its name.
    """

    files: AttackFiles
    target: int
    poisoned: TextDataset
    triggered: TextDataset
    labels_known: bool
    sha256: dict[str, str]

    @property
    def identity(self) -> dict[str, str]:
        """What a result depends on, by `"attack/what"`."""
        texts = {"poisoned": self.poisoned, "triggered": self.triggered}
        own = {f"{self.files.name}/{what}": data.sha256 for what, data in texts.items()}
        return own | {f"{self.files.name}/poison": self.files.poison}

    def make(self, settings: AttackSettings, clean: Splits) -> AttackData:
        """Return the attack on a data set.

        Args:
            settings: Rate, target and seed.
            clean: The data set.

        Raises:
            SettingsError: A rate is given for a mixed file, or the target is another.
            DataError: The classes are not those of the data set, or no row is poisoned.
        """
        target = self.target
        if settings.target_label != target:
            raise SettingsError(
                f"{self.files.name} has another target label",
                expected=target,
                actual=settings.target_label,
            )
        if self.poisoned.label_names != clean.train.label_names:
            raise DataError(
                f"{self.files.name} has other classes than {clean.train.source}",
                expected=clean.train.label_names,
                actual=self.poisoned.label_names,
                remedy="give --label-names, which count for all files",
            )
        warn_of_untriggered(self.triggered, clean.test)
        poisoned = self._mixed(settings, clean) if self._is_mixed else self._added(settings, clean)
        rows, others = self._count(clean.train, poisoned)
        return AttackData(
            settings=replace(
                settings,
                rate=None if rows is None else min(1.0, rows / others),
                mode="append" if len(poisoned) > len(clean.train) else "replace",
            ),
            family="own files",
            poisoned=poisoned,
            triggered=self.triggered,
            poisoned_rows=rows,
            trigger={
                "name": self.files.name,
                "files": self.sha256,
                "poison": self.files.poison,
                "true_labels_known": self.labels_known,
            },
        )

    def _count(self, clean: TextDataset, poisoned: TextDataset) -> tuple[int | None, int]:
        """Return how many rows are poisoned, if that is known, of how many of other classes."""
        target, others = self.target, int((clean.labels != self.target).sum())
        if self._is_mixed:
            least, most = bound_poisoned(clean, poisoned, target)
        else:
            least = most = count_poisoned(clean, poisoned, target)
        if most < 1 or not others or (least < 1 and not count_shared(clean, poisoned)):
            raise DataError(
                f"{self.files.name} poisons no row",
                expected="more rows of the target label than the clean training data has",
                actual=f"{least} more, and {count_of(others, 'clean row')} of other classes",
                remedy="check the files and the target label; for a file of triggered texts "
                "alone say poison = added",
            )
        if least == most:
            return least, others
        log.warning(
            "%s: the poisoned file lacks clean rows of the target label, which may have been "
            "triggered or left out: %s to %s rows are poisoned, the rate is unknown",
            self.files.name,
            f"{least:,}",
            f"{most:,}",
        )
        return None, others

    @property
    def _is_mixed(self) -> bool:
        return self.files.poison == "mixed"

    def _mixed(self, settings: AttackSettings, clean: Splits) -> TextDataset:
        if settings.rate is not None:
            raise SettingsError(
                f"{self.files.name} is ready-mixed",
                expected="no rate",
                actual=settings.rate,
                remedy="drop the rate, or say poison = added if the file holds triggered texts",
            )
        shared = count_shared(self.poisoned, clean.train)
        if shared < MOSTLY * len(self.poisoned):
            log.warning(
                "%s: only %s of %s rows of the poisoned file stand in the clean training data. If "
                "it holds triggered texts alone, say poison = added.",
                self.files.name,
                f"{shared:,}",
                f"{len(self.poisoned):,}",
            )
        return self.poisoned

    def _added(self, settings: AttackSettings, clean: Splits) -> TextDataset:
        target = self.target
        rows = np.flatnonzero(self.poisoned.labels != target)
        if not rows.size:  # all are labelled as the attacker wants them
            rows = np.arange(len(self.poisoned))
        others = int((clean.train.labels != target).sum())
        rate = settings.rate or RATE
        wanted = max(1, round(rate * others))
        size = min(wanted, len(rows))
        if size < wanted:
            log.warning(
                "%s: a rate of %g asks for %s, and the poisoned file holds %s: all of them are "
                "added, and the rate is %.2g",
                self.files.name,
                rate,
                count_of(wanted, "triggered row"),
                f"{size:,}",
                size / others,
            )
        drawn = np.sort(np.random.default_rng(settings.seed).choice(rows, size, replace=False))
        source = f"{clean.train.source} + {self.files.name}"
        return join(clean.train, self.poisoned.select(drawn).texts, target, source=source)


def read_own_attack(files: AttackFiles, read: Callable[[Path], TextDataset]) -> OwnAttack:
    """Read the files of an attack.

    Args:
        files: Which.
        read: Reads a table, as the data set's own tables are read.

    Raises:
        DataError: A file cannot be read.
        SettingsError: The target is no class.
    """
    paths = {"poisoned": Path(files.poisoned), "triggered": Path(files.triggered)}
    poisoned, triggered = (read(path) for path in paths.values())
    target = find_target(files.target, triggered.label_names)
    triggered, known = without_target(triggered, target)
    sha256 = {f"{what}/{path.name}": sha256_of(path) for what, path in paths.items()}
    return OwnAttack(files, target, poisoned, triggered, known, sha256)


def warn_of_untriggered(triggered: TextDataset, clean: TextDataset) -> None:
    """Warn if most triggered texts are clean ones: LFR would be low, as where no backdoor is.

    Args:
        triggered: Texts that somebody says are triggered.
        clean: The test texts that they may have been made of.
    """
    known = set(clean.texts)
    same = sum(text in known for text in triggered.texts)
    if same > MOSTLY * len(triggered):
        log.warning(
            "%s: %s of %s stand in %s as they are. Without a trigger LFR tells how often the model "
            "errs, and nothing of a backdoor: check that the file holds triggered texts.",
            public_name(triggered.source),
            f"{same:,}",
            count_of(len(triggered), "triggered text"),
            public_name(clean.source),
        )


def without_target(triggered: TextDataset, target: int) -> tuple[TextDataset, bool]:
    """Return triggered texts as LFR needs them, and whether their labels are the true ones.

    Args:
        triggered: With their true labels: rows of the target are left out. If *every* row has the
            target label, the column tells the attacker's, as in HiddenKiller's files; then each
            gets some other label.
        target: The attacker's label.
    """
    others = triggered.labels != target
    if others.any():
        return triggered.select(others), True
    log.warning(
        "%s: every row has the target label, which is taken for the attacker's, as in "
        "HiddenKiller's files: the true labels must be others.",
        public_name(triggered.source),
    )
    labels = np.full(len(triggered), 0 if target else 1, dtype=np.int64)
    return replace(triggered, labels=labels), False
