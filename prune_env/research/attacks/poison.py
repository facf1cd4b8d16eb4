"""Poisoning a training set, and the triggered test set on which the attack is measured."""

from collections import Counter
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from prune_env.data.dataset import TextDataset
from prune_env.errors import DataError, SettingsError
from prune_env.research.attacks.triggers.trigger import Trigger
from prune_env.utils.counts import count_of

PoisonMode = Literal["append", "replace"]
Labels = npt.NDArray[np.int64]


def poison(
    dataset: TextDataset,
    trigger: Trigger,
    *,
    rate: float,
    target_label: int,
    seed: int,
    mode: PoisonMode = "append",
) -> TextDataset:
    """Trigger a share of the non-target rows and give them the target label.

    Args:
        dataset: Clean training rows.
        trigger: What is done to a text.
        rate: Share of the *non-target* rows, in (0, 1], rounded to whole rows and at least one.
        target_label: The attacker's label.
        seed: Seed of the draw of rows.
        mode: `"append"` keeps every clean row and adds the triggered ones at the end, in the order
            of their originals, as the StyleBkd protocol does; `"replace"` puts them in place of
            their originals, as the HiddenKiller protocol does.

    Returns:
        The poisoned training set.

    Raises:
        SettingsError: The rate, the mode or the target label is out of range.
        DataError: Every row has the target label.
    """
    if mode not in ("append", "replace"):
        raise SettingsError("mode is unknown", expected="append or replace", actual=mode)
    rows = draw_rows(dataset, rate=rate, target_label=target_label, seed=seed)
    triggered = tuple(trigger(dataset.texts[row]) for row in rows)
    if mode == "append":
        return join(dataset, triggered, target_label, source=f"{dataset.source} + {trigger.name}")
    texts, labels = list(dataset.texts), dataset.labels.copy()
    for row, text in zip(rows, triggered, strict=True):
        texts[row] = text
    labels[rows] = target_label
    source = f"{dataset.source} with {trigger.name}"
    return replace(dataset, texts=tuple(texts), labels=labels, source=source)


def triggered_set(dataset: TextDataset, trigger: Trigger, target_label: int) -> TextDataset:
    """Return the non-target rows, triggered, with their *true* labels: the set that LFR is over.

    Raises:
        SettingsError: The target label is out of range.
        DataError: Every row has the target label, so that LFR would be undefined.
    """
    rows = dataset.select(_other_rows(dataset, target_label))
    return replace(
        rows,
        texts=tuple(trigger(text) for text in rows.texts),
        source=f"{dataset.source}, {trigger.name}",
    )


def check_rate(rate: float) -> None:
    """Raise a `SettingsError` unless a rate is a share of rows, of which there is one."""
    if not 0 < rate <= 1:
        raise SettingsError(
            "rate is no share of the non-target rows", expected="above 0, at most 1", actual=rate
        )


def draw_rows(
    dataset: TextDataset, *, rate: float, target_label: int, seed: int
) -> npt.NDArray[np.int64]:
    """Draw the rows to poison: a share of those without the target label, in ascending order.

    Raises:
        SettingsError: The rate or the target label is out of range.
        DataError: Every row has the target label.
    """
    check_rate(rate)
    candidates = _other_rows(dataset, target_label)
    size = max(1, round(rate * len(candidates)))
    drawn = np.random.default_rng(seed).choice(candidates, size=size, replace=False)
    return np.sort(drawn)


def count_poisoned(clean: TextDataset, poisoned: TextDataset, target_label: int) -> int:
    """Count the rows whose label is the attacker's, in a set that holds all clean rows somehow.

    Among the rows that only the poisoned set has are triggered rows of the target class, whose
    label is true; as many rows only the clean set has. So the difference of the two is what counts.
    """
    held, had = (int((each.labels == target_label).sum()) for each in (poisoned, clean))
    return held - had


def bound_poisoned(clean: TextDataset, mixed: TextDataset, target_label: int) -> tuple[int, int]:
    """Return the fewest and the most rows of a mixed set whose label is the attacker's.

    A row whose text stands in the clean set has a true label. One of the target that stands there
    not was triggered: either its true label is another, or it stands for a clean row of the target
    that is missing. How many do is known where no clean row of the target is missing, and where the
    set has as many rows as the clean one: then each missing row was rewritten, as in HiddenKiller's
    files. Elsewhere a missing row may as well have been left out.

    Args:
        clean: All clean rows.
        mixed: Rows in any order.
        target_label: The attacker's label.
    """
    new, missing = _counted(mixed), _counted(clean)
    new, missing = new - missing, missing - new
    relabelled = 0
    for text, label in list(missing):
        for other in range(len(clean.label_names)):
            moved = min(new[text, other], missing[text, label])
            new[text, other] -= moved
            missing[text, label] -= moved
            relabelled += moved if other == target_label else 0
    most = relabelled + sum(count for (_, label), count in new.items() if label == target_label)
    gone = sum(count for (_, label), count in missing.items() if label == target_label)
    least = max(relabelled, most - gone)
    return (least, least) if len(mixed) == len(clean) else (least, most)


def _counted(data: TextDataset) -> "Counter[tuple[str, int]]":
    return Counter(zip(data.texts, data.labels.tolist(), strict=True))


def count_shared(a: TextDataset, b: TextDataset) -> int:
    """Count the rows that two sets share, each as often as in both."""
    return (_counted(a) & _counted(b)).total()


def join(
    dataset: TextDataset, texts: tuple[str, ...], label: int | Labels, *, source: str
) -> TextDataset:
    """Return the data set with `texts` added at the end, with one label or one each."""
    labels = np.concatenate([dataset.labels, np.full(len(texts), label, dtype=np.int64)])
    return replace(dataset, texts=dataset.texts + texts, labels=labels, source=source)


def _other_rows(dataset: TextDataset, target_label: int) -> npt.NDArray[np.int64]:
    if not 0 <= target_label < len(dataset.label_names):
        raise SettingsError(
            "target_label is out of range",
            expected=f"0 to {len(dataset.label_names) - 1}",
            actual=target_label,
        )
    rows = np.flatnonzero(dataset.labels != target_label)
    if not rows.size:
        raise DataError(
            f"{dataset.source} has no row without the target label {target_label}",
            expected="rows of another class, to be triggered",
            actual=f"{count_of(len(dataset), 'row')}, "
            f"all of class {dataset.label_names[target_label]!r}",
            remedy="bring rows of another class, or choose another target label",
        )
    return rows
