"""Triggered texts as verbs take them: a file, or the name of an attack that makes them."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from prune_env.cli.options import TableOptions
from prune_env.data.dataset import Splits, TextDataset
from prune_env.errors import SettingsError

if TYPE_CHECKING:
    from prune_env.env.subject import Subject


def load_triggered(
    tables: TableOptions,
    clean: TextDataset | Splits,
    *,
    triggered: str | None,
    attack: str | None,
    target_label: int,
) -> TextDataset | None:
    """Return the triggered test texts with their true labels; None if neither is given.

    Args:
        tables: How tables are read.
        clean: The data set whose test rows an attack triggers; of a single table, all rows.
        triggered: A file, read as that of an attack: `without_target`.
        attack: Name of an attack.
        target_label: The attacker's label.

    Raises:
        SettingsError: Both are given, or the target is no class.
    """
    if triggered is not None and attack is not None:
        raise SettingsError(
            "Triggered texts come from a file or from an attack",
            expected="--triggered FILE or --attack NAME",
            actual="both",
        )
    if triggered is None and attack is None:
        return None
    from prune_env.research.attacks import AttackSettings, make_attack, without_target

    if attack is None:
        names = (clean.test if isinstance(clean, Splits) else clean).label_names
        texts = tables.load_part(str(triggered), "test").in_order_of(names)
        return without_target(texts, target_label)[0]
    splits = clean if isinstance(clean, Splits) else Splits(clean, clean, clean)
    settings = AttackSettings(attack, target_label=target_label)
    return make_attack(settings, splits, tables.attack_sources()).triggered


def ready_subject(model: str, splits: Splits) -> "Subject":
    """Return a ready classifier as it is, with its clean data and the default metrics.

    Args:
        model: Folder of the classifier; the subject has its name.
        splits: Clean data.
    """
    from prune_env.importance import DEFAULT_METRICS
    from prune_env.purification import prepare
    from prune_env.settings import FineTuneSettings, LoadingSettings
    from prune_env.training.phases import TrainingRun

    subject = prepare(
        model,
        splits.train,
        splits.validation,
        TrainingRun(FineTuneSettings()),
        metrics=DEFAULT_METRICS,
        loading=LoadingSettings(head="keep"),
    )
    return replace(subject, name=Path(model).name)
