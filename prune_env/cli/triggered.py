"""Triggered texts as verbs take them: a file, or the name of an attack that makes them."""

from prune_env.cli.options import TableOptions
from prune_env.data.dataset import Splits, TextDataset
from prune_env.errors import SettingsError


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
        triggered: A file.
        attack: Name of an attack.
        target_label: The attacker's label.

    Raises:
        SettingsError: Both are given.
    """
    if triggered is not None and attack is not None:
        raise SettingsError(
            "Triggered texts come from a file or from an attack",
            expected="--triggered FILE or --attack NAME",
            actual="both",
        )
    if triggered is not None:
        return tables.load_table(triggered)
    if attack is None:
        return None
    from prune_env.research.attacks import AttackSettings, make_attack

    splits = clean if isinstance(clean, Splits) else Splits(clean, clean, clean)
    settings = AttackSettings(attack, target_label=target_label)
    return make_attack(settings, splits, tables.attack_sources()).triggered
