"""Triggered texts as verbs take them: a file, or the name of an attack that makes them."""

import logging
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from prune_env.cli.options import TableOptions
from prune_env.data.dataset import Splits, TextDataset
from prune_env.errors import SettingsError
from prune_env.utils.counts import count_of

if TYPE_CHECKING:
    from prune_env.env.subject import Subject

log = logging.getLogger(__name__)


def as_splits(clean: TextDataset | Splits) -> Splits:
    """Return clean data in its parts; a single table is every part."""
    return clean if isinstance(clean, Splits) else Splits(clean, clean, clean)


def clean_parts(tables: TableOptions, name_or_path: str, attack: str | None) -> Splits:
    """Return clean data in its parts; a single table is every part.

    Where no attack triggers the test part, it may be missing, and the validation part stands there.
    """
    if attack is None:
        train, validation = tables.load_two(name_or_path)
        return Splits(train, validation, validation)
    return as_splits(tables.load(name_or_path))


def refuse_oracle(rewards: str, what: str) -> None:
    """Refuse the oracle by what the command line takes: the API's word for it is an object.

    Args:
        rewards: Names or formulas of `--rewards`.
        what: What measures the hidden LFR anyway, with its article.

    Raises:
        SettingsError: It is named among the rewards.
    """
    if re.search(r"(?<![\w-])oracle(?![\w-])", rewards):  # in a formula too
        raise SettingsError(
            f"The reward 'oracle' reads triggered texts, and {what} has it as the hidden LFR",
            expected="--rewards that read clean data alone",
            actual=f"--rewards {rewards}",
            remedy="leave oracle out, and give --triggered FILE or --attack NAME",
        )


def load_triggered(
    tables: TableOptions,
    clean: Splits,
    *,
    triggered: str | None,
    attack: str | None,
    target_label: int | str | None,
) -> tuple[TextDataset | None, int]:
    """Return the triggered test texts with their true labels, if there are any, and the target.

    Args:
        tables: How tables are read.
        clean: The data set whose test rows an attack triggers, as `clean_parts` returns it.
        triggered: A file, read as that of an attack: `without_target`.
        attack: Name of an attack.
        target_label: The attacker's label, by name or as a number; None is 1.

    Raises:
        SettingsError: Both are given, or a target without either; the target is no class, or it is
            not given where only a measurement tells it.
    """
    from prune_env.research.attacks import asked_target

    if triggered is not None and attack is not None:
        raise SettingsError(
            "Triggered texts come from a file or from an attack",
            expected="--triggered FILE or --attack NAME",
            actual="both",
        )
    names = clean.test.label_names
    if triggered is None and attack is None and target_label is None:
        return None, 1
    target = asked_target(1 if target_label is None else target_label, names)
    if attack is not None:
        return _attacked(tables, clean, attack, target, given=target_label is not None), target
    if triggered is None:
        raise SettingsError(
            "A target label tells towards what triggered texts are flipped",
            expected="--triggered FILE or --attack NAME beside --target-label",
            actual="neither",
        )
    from prune_env.research.attacks import warn_of_untriggered, without_target

    if target_label is None and len(names) > 2:
        # Of the wrong class LFR is near 0, as if the backdoor were gone.
        log.warning(
            "No --target-label is given: of %s, LFR is measured towards '%s'",
            count_of(len(names), "class"),
            names[target],
        )
    texts = tables.like(clean.test).load_part(triggered, "test").in_order_of(names)
    hidden = without_target(texts, target)[0]
    warn_of_untriggered(hidden, clean.test)
    return hidden, target


def _attacked(
    tables: TableOptions, clean: Splits, attack: str, target: int, *, given: bool
) -> TextDataset:
    """Return the test texts that an attack triggers; whether its target was given may matter."""
    from prune_env.research.attacks import AttackSettings, make_attack

    settings = AttackSettings(attack, target_label=target)
    made = make_attack(settings, clean, tables.attack_sources())
    if made.task_agnostic and not given:
        raise SettingsError(
            f"The target of {attack} is found by measuring",
            expected="--target-label, as `prune-env attack` printed it and attack.json holds it",
            actual="none",
        )
    return made.triggered


def ready_subject(model: str, splits: Splits, tables: TableOptions) -> "Subject":
    """Return a ready classifier as it is, with its clean data and the default metrics.

    What it answers must belong to the labels: of one that has them reversed, hours would tell
    nothing.

    Args:
        model: Folder of the classifier; the subject has its name.
        splits: Clean data.
        tables: Whether the model may be fetched.

    Raises:
        ModelError: The folder holds no model that may be loaded, or its labels are in another
            order.
        DataError: It is no better than chance, or surely worse; see `check_answers`.
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
        loading=LoadingSettings(head="keep", allow_download=tables.allow_download),
    )
    _check_answers(subject)
    return replace(subject, name=Path(model).name)


def _check_answers(subject: "Subject") -> None:
    """Raise unless what a ready classifier answers belongs to the labels; see `check_answers`."""
    from prune_env.purification.answers import answer_training_rows, check_answers
    from prune_env.utils.public import public_name

    suspect = subject.require_suspect()
    # The rows of one table would count twice.
    one_table = suspect.train.sha256 == suspect.validation.sha256
    check_answers(
        subject.evaluator.evaluate(subject.evaluator.available[None]),
        suspect.loaded.label_names,
        public_name(subject.source),
        ready=True,
        more=None if one_table else partial(answer_training_rows, suspect),
    )
