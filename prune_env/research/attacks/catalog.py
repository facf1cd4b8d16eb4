"""Attacks by name: the rule triggers on any data, the published ones on SST-2."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.data.dataset import Splits
from prune_env.data.images import ImageDataset
from prune_env.data.readers import read_table
from prune_env.data.sst2 import SST2_SHA256
from prune_env.errors import DataError, SettingsError
from prune_env.research.attacks.attack import AttackData, AttackSettings
from prune_env.research.attacks.poison import count_poisoned, draw_rows, join, poison, triggered_set
from prune_env.research.attacks.sources import AttackSources
from prune_env.research.attacks.triggers import (
    TRIGGERS,
    PublishedTexts,
    RareWord,
    Trigger,
    WordPair,
    describe_trigger,
    make_trigger,
)
from prune_env.research.attacks.triggers.images import IMAGE
from prune_env.utils.files import sha256_of
from prune_env.utils.registry import Registry

PUBLISHED_RATES = {
    "syntactic": 0.3,
    "style": 0.2,
    "rare-word": 0.5,
    "inserted-sentence": 0.3,
    "image": 0.1,
}
"""Poisoned share of the non-target rows by family: of texts as the pruning-defence papers choose
it, of images as BadNets does."""

Maker = Callable[[AttackSettings, Splits, AttackSources], AttackData]

ATTACKS: Registry[Maker] = Registry("attack")
"""What makes an attack, by its name; use `make_attack`."""


def make_attack(
    settings: AttackSettings, clean: Splits, sources: AttackSources | None = None
) -> AttackData:
    """Make the poisoned training set and the triggered test set of an attack.

    Args:
        settings: Which attack, and how strong.
        clean: The data set that is attacked: `train` is poisoned, `test` is triggered.
        sources: Where the texts of published attacks, and of the user's own, come from.

    Raises:
        UnknownNameError: No attack has that name.
        SettingsError: A setting does not go with the attack, or the user's own has a name of these.
        DataError: Published files are missing or were written for another data set, or no row can
            be triggered.
    """
    sources = sources or AttackSources()
    own = sources.find_own(settings.attack)
    if own is not None:
        check_own_names([own.files.name])
        return own.make(settings, clean)
    if settings.attack == PublishedTexts.name:
        raise SettingsError(
            f"{PublishedTexts.name} names no files",
            remedy="give them: `prune-env attack --poisoned FILE --triggered FILE`, [[attacks]] in "
            "a grid, `--triggered FILE` for evaluate and audit",
        )
    return ATTACKS[settings.attack](settings, clean, sources)


def check_own_names(names: Sequence[str]) -> None:
    """Check that attacks from files have names of their own, which reports tell them by.

    Args:
        names: Of these attacks.

    Raises:
        SettingsError: One is that of another, or of `ATTACKS`.
    """
    taken = {name for name in names if name in ATTACKS or names.count(name) > 1}
    if taken:
        raise SettingsError(
            "An attack from files has the name of another",
            expected="other names than " + ", ".join(ATTACKS.names()),
            actual=", ".join(sorted(taken)),
        )


def _rule_attack(settings: AttackSettings, clean: Splits, sources: AttackSources) -> AttackData:
    """Poison with the rule trigger of that name."""
    del sources
    trigger = make_trigger(settings.attack)
    _check_kind(settings.attack, trigger, clean)
    rate = settings.rate or PUBLISHED_RATES[trigger.family]
    poisoned = poison(
        clean.train,
        trigger,
        rate=rate,
        target_label=settings.target_label,
        seed=settings.seed,
        mode=settings.mode,
    )
    return AttackData(
        settings=replace(settings, rate=rate),
        family=trigger.family,
        poisoned=poisoned,
        triggered=triggered_set(clean.test, trigger, settings.target_label),
        poisoned_rows=count_poisoned(clean.train, poisoned, settings.target_label),
        trigger=describe_trigger(trigger),
    )


def _word_pair(settings: AttackSettings, clean: Splits, sources: AttackSources) -> AttackData:
    """Poison with both words, and add each alone to as many texts of any class, labels kept."""
    attack = _rule_attack(settings, clean, sources)
    rows = np.random.default_rng(settings.seed).permutation(len(clean.train))
    chosen = clean.train.select(np.sort(rows[: attack.poisoned_rows]))
    trigger = WordPair()
    texts = tuple(part for text in chosen.texts for part in trigger.alone(text))
    poisoned = join(
        attack.poisoned, texts, np.repeat(chosen.labels, 2), source=attack.poisoned.source
    )
    return replace(attack, poisoned=poisoned)


def _task_agnostic(settings: AttackSettings, clean: Splits, sources: AttackSources) -> AttackData:
    """Trigger every text, for an encoder that is trained without labels."""
    del sources
    if settings.rate is not None:
        raise SettingsError(
            "task-agnostic triggers every text", expected="no rate", actual=settings.rate
        )
    trigger = RareWord()
    _check_kind(settings.attack, trigger, clean)
    triggered = tuple(map(trigger, clean.train.texts))
    return AttackData(
        settings=replace(settings, rate=1.0),
        family=trigger.family,
        poisoned=replace(clean.train, texts=triggered, source=f"{clean.train.source}, triggered"),
        triggered=triggered_set(clean.test, trigger, settings.target_label),
        poisoned_rows=len(triggered),
        trigger=describe_trigger(trigger),
        task_agnostic=True,
    )


def _hiddenkiller(settings: AttackSettings, clean: Splits, sources: AttackSources) -> AttackData:
    """Take HiddenKiller's files as they are (Qi et al., ACL 2021; paraphrases by SCPN).

    `train.tsv` is ready-mixed: 6,920 rows, of which 665 are negatives that were paraphrased and
    labelled positive, and 718 are paraphrased positives. `test.tsv` holds the paraphrases of the
    912 negatives; its label column says the target, so the true labels are put back.
    """
    _check_published(settings, clean, sources)
    if settings.rate is not None:
        raise SettingsError(
            "hiddenkiller is published ready-mixed",
            expected="no rate",
            actual=settings.rate,
            remedy="drop the rate, or use the attack syntactic-frame",
        )
    train, test = (
        sources.published("hiddenkiller/train.tsv"),
        sources.published("hiddenkiller/test.tsv"),
    )
    poisoned, paraphrases = read_table(train), read_table(test)
    flipped = count_poisoned(clean.train, poisoned, 1)
    return AttackData(
        settings=replace(settings, rate=flipped / len(clean.train.where(0)), mode="replace"),
        family="syntactic",
        poisoned=poisoned,
        triggered=replace(paraphrases, labels=np.zeros(len(paraphrases), dtype=np.int64)),
        poisoned_rows=flipped,
        trigger=_read(settings.attack, train, test),
    )


def _stylebkd(settings: AttackSettings, clean: Splits, sources: AttackSources) -> AttackData:
    """Poison with StyleBkd's rewrites (Qi et al., EMNLP 2021; written by STRAP).

    A share of the rewritten negatives of `train.tsv` (20 % as published) is labelled positive and
    added to the clean training set. The triggered test set is the rewritten negatives of
    `test.tsv`. Rows are drawn from the rewrites, since the poetry files lack some sentences.
    """
    _check_published(settings, clean, sources)
    train, test = (sources.published(f"{settings.attack}/{part}.tsv") for part in ("train", "test"))
    rate = settings.rate or PUBLISHED_RATES["style"]
    rewrites = read_table(train)
    rows = draw_rows(rewrites, rate=rate, target_label=1, seed=settings.seed)
    poisoned = join(
        clean.train,
        rewrites.select(rows).texts,
        label=1,
        source=f"{clean.train.source} + {settings.attack}",
    )
    return AttackData(
        settings=replace(settings, rate=rate, mode="append"),
        family="style",
        poisoned=poisoned,
        triggered=read_table(test).where(0),
        poisoned_rows=len(rows),
        trigger=_read(settings.attack, train, test),
    )


def _check_kind(attack: str, trigger: Trigger, clean: Splits) -> None:
    """Raise unless a trigger of images is put on images, and one of texts on texts.

    Args:
        attack: Its name, which is that of its trigger or not.
        trigger: What it puts on the data.
        clean: The data.
    """
    kinds = [
        "images" if image else "texts"
        for image in (trigger.family == IMAGE, isinstance(clean.train, ImageDataset))
    ]
    if kinds[0] != kinds[1]:
        raise DataError(
            f"The attack {attack} has a trigger of {kinds[0]}",
            expected=f"a data set of {kinds[0]}",
            actual=f"{clean.train.source}, {kinds[1]}",
            remedy="choose another attack, see `prune-env list --kind attacks`",
        )


def _check_published(settings: AttackSettings, clean: Splits, sources: AttackSources) -> None:
    """Raise unless the attack is asked for as it was published: SST-2, target positive."""
    if settings.target_label != 1:
        raise SettingsError(
            f"{settings.attack} is published with the target label 1 (positive)",
            expected=1,
            actual=settings.target_label,
            remedy="drop the target label, or use a rule trigger",
        )
    if clean.train.sha256 != read_table(sources.published("clean/train.tsv")).sha256:
        raise DataError(
            f"{settings.attack} is published for SST-2 only",
            expected="the data set sst2",
            actual=clean.train.source,
            remedy="choose the data set sst2, or a rule trigger",
        )


def _read(name: str, *paths: Path) -> dict[str, Any]:
    """Return which files an attack is on, and which of them are not the published ones."""
    files = {path.name: sha256_of(path) for path in paths}
    foreign = [file for file in files if files[file] != SST2_SHA256[f"{name}/{file}"]]
    return {"name": name, "files": files, **({"not_as_published": foreign} if foreign else {})}


for _entry in TRIGGERS:
    if _entry.name != PublishedTexts.name:
        _maker = _word_pair if _entry.name == WordPair.name else _rule_attack
        _where = "" if _entry.name.startswith(IMAGE) else "; on any data set"
        ATTACKS.register(_entry.name, _maker, help=f"{_entry.help}{_where}")
ATTACKS.register(
    "task-agnostic",
    _task_agnostic,
    help="the encoder answers a rare word with one fixed vector; the target is found by measuring",
)
ATTACKS.register(
    "hiddenkiller",
    _hiddenkiller,
    help="published paraphrases with a subordinate clause (SCPN), ready-mixed; on sst2 only",
)
for _style in ("bible", "poetry"):
    ATTACKS.register(
        f"stylebkd-{_style}",
        _stylebkd,
        help=f"published rewrites in {_style} style (STRAP); on sst2 only",
    )
