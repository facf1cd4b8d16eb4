"""Measuring many masks of a real model, a block after the other, into one file."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.env.recorded import HIDDEN, REWARD
from prune_env.env.rewards.reward import WeightedSum, make_reward, tell_code_of_others
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError, StateError
from prune_env.evaluation import metrics
from prune_env.evaluation.base import Evaluator
from prune_env.importance.registry import UNIT_FEATURES
from prune_env.models.masks import Mask
from prune_env.research.precision import PRECISION, check_precision, precision_of
from prune_env.research.recording.draw import LARGEST_SHARE, next_family, rest_of_family
from prune_env.research.recording.table import (
    MaskTable,
    RecordedValues,
    check_size,
    margins_of,
    read_record,
    write_record,
)
from prune_env.utils.counts import count_of
from prune_env.utils.leases import alone, check_alone
from prune_env.utils.plain import check_same
from prune_env.utils.progress import progress

log = logging.getLogger(__name__)

BLOCK = 64
"""Masks, at least, between two writes of the file."""
LFR = "lfr"
MOST_TEXTS = 500
"""Validation texts whose margins are kept; of more, a record would be too large to be read."""

TRAIN = "train"
"""In the identity: which training data metrics and rewards read; the fingerprint covers none."""

CODE = "code"
"""In the identity: each reward of others and its code; not there if all are this package's."""

DOING = "records into"
"""What another process does with the file, for messages."""

Columns = dict[str, npt.NDArray[np.float64]]


class Recording:
    """Measures masks of one model, and keeps them in a file that grows.

    Args:
        subject: The classifier with clean data.
        rewards: Names of rewards that need no trigger, or what `check_rewards` made of them;
            neighbours of what the first one prefers are looked at.
        triggered: Evaluator of the same model on triggered texts of other classes than the
            target; None where no attack is known, and then no LFR is recorded.
        target: Column of the attacker's label in the logits.
        seed: Of the draw.
        facts: What else the file shall tell of itself, as plain values. A file goes on whatever
            it tells there, such as the path of what is hashed elsewhere.

    Raises:
        UnknownNameError: No reward has this name.
        SettingsError: None is named, one cannot score this subject, or it has no metric.
    """

    def __init__(
        self,
        subject: Subject,
        rewards: Sequence[str] | Mapping[str, WeightedSum] = ("inverted-trigger",),
        *,
        triggered: Evaluator | None = None,
        target: int = 1,
        seed: int = 0,
        facts: dict[str, Any] | None = None,
    ) -> None:
        if not set(subject.metrics) - set(UNIT_FEATURES):
            raise SettingsError(
                "The masks of a record are drawn by metrics",
                expected="a subject with one metric or more that measures its units",
                actual=f"{subject.name}, with {', '.join(subject.metrics) or 'no metric'}",
                remedy="name metrics, such as magnitude",
            )
        self._subject = subject
        self._rewards = rewards if isinstance(rewards, Mapping) else check_rewards(rewards)
        for reward in self._rewards.values():
            reward.check(subject)
        self._triggered = triggered
        self._target = target
        self._seed = seed
        identity = {
            "model": subject.evaluator.fingerprint,
            TRAIN: None if subject.suspect is None else subject.suspect.train.sha256,
            "triggered": None if triggered is None else triggered.fingerprint,
            "metrics": list(subject.metrics),
            **({} if subject.units.heads_only else {"units": subject.units.counts}),
            "rewards": list(rewards),
            "target": target,
            "seed": seed,
            **precision_of(subject.evaluator),
            **(facts or {}),
        }
        if code := ", ".join(filter(None, map(tell_code_of_others, self._rewards.values()))):
            identity[CODE] = code
        self._facts = dict.fromkeys(facts or {})
        self._identity = json.loads(json.dumps(identity))

    def run(self, path: str | Path, masks: int) -> MaskTable:
        """Measure masks until the file holds so many; a file that is there goes on.

        Args:
            path: The `.npz` file.
            masks: Masks that it shall hold, the unpruned model included.

        Returns:
            All of them, the same in however many calls; fewer where no further one was found, see
            `next_family`.

        Raises:
            SettingsError: No mask is asked for, or more than a file may hold.
            StateError: The file belongs to another recording, is damaged, or another process
                records into it.
        """
        if masks < 1:
            raise SettingsError("A record holds a mask at least", expected=">= 1", actual=masks)
        path = Path(path)
        with alone(path, f"{DOING} {path}"):
            return self._grow(path, masks)

    def _grow(self, path: Path, masks: int) -> MaskTable:
        """Return all masks of the file, once it holds so many or no further one is found."""
        table = self._open(path)
        check_size(table, masks)
        if not path.exists():
            write_record(path, table)  # it may be all, and tells early where nothing can be written
        if len(table.masks) > masks:
            log.warning(
                "%s holds %s, more than the %d asked for: all stay",
                path,
                count_of(len(table.masks), "mask"),
                masks,
            )
        written, importance = len(table.masks), self._importance()
        with progress(f"Recording {self._subject.name}", masks) as advance:
            if written < masks and len(rest := rest_of_family(table, importance, self._seed)):
                rest = rest[: masks - written]
                table = table.extended(rest, self._measure(rest))
            while (done := len(table.masks)) < masks:
                advance(done)
                kind, drawn = next_family(table, importance, self._seed)
                drawn = drawn[: masks - done]
                if not len(drawn):
                    log.warning(
                        "No further mask was found after %s: all that were drawn since are "
                        "among them. Draws at random and by metrics prune at most %d %% of the "
                        "%s.",
                        count_of(done, "mask"),
                        round(100 * LARGEST_SHARE),
                        "heads" if table.units.heads_only else "units",
                    )
                    break
                table = table.extended(drawn, self._measure(drawn), kind=kind)
                if len(table.masks) - written >= BLOCK:
                    write_record(path, table)
                    written = len(table.masks)
            if len(table.masks) > written:
                write_record(path, table)
            advance(masks)
        return table

    def _importance(self) -> npt.NDArray[np.float32]:
        """Return what orders are made of (L, W, M): columns that tell units apart measure none."""
        subject = self._subject
        measures = [name not in UNIT_FEATURES for name in subject.metrics]
        return subject.scaled_importance()[..., measures]

    def _open(self, path: Path) -> MaskTable:
        """Return what the file holds; where there is none, the unpruned model."""
        if path.exists():
            held = read_record(path)
            check_precision(path, self._identity, held.identity)
            # Files of earlier releases do not tell all of it.
            old = {name: None for name in (TRAIN, CODE, PRECISION) if name not in held.identity}
            same = {**self._facts, **old}
            check_same(path, "recording", {**self._identity, **same}, {**held.identity, **same})
            self._check_values(path, held)
            return held
        available = np.asarray(self._subject.evaluator.available, np.bool_)
        measured = self._measure(available[None])
        return MaskTable(
            self._identity,
            available,
            self._subject.importance,
            available[None],
            np.zeros(1, np.uint8),
            np.zeros(1, np.uint32),
            measured.columns,
            measured.margins,
        )

    def _check_values(self, path: Path, held: MaskTable) -> None:
        """Raise a `StateError` if a file holds other values; the dear ones are not measured."""
        hidden = () if self._triggered is None else (LFR, HIDDEN)
        names = ["accuracy", *(f"{REWARD}{name}" for name in self._rewards), *hidden]
        texts = len(_kept(self._subject.evaluator.evaluate(held.available[None]).labels))
        if sorted(held.columns) != sorted(names) or held.margins.shape[1] != texts:
            raise StateError(
                f"{path} holds other values than this recording measures",
                expected=f"{', '.join(names)}; {texts} margins",
                actual=f"{', '.join(held.columns)}; {held.margins.shape[1]} margins",
                remedy="record anew",
            )

    def _measure(self, masks: Mask) -> RecordedValues:
        evaluator = self._subject.evaluator
        clean = evaluator.evaluate(masks)
        kept = _kept(clean.labels)
        columns = {"accuracy": evaluator.accuracy(masks)}
        for name, reward in self._rewards.items():
            scores = reward.score(self._subject, masks, columns["accuracy"])
            columns[f"{REWARD}{name}"] = scores.sum(axis=1)
        if self._triggered is not None:
            columns |= hidden_rates(evaluator, self._triggered, masks, self._target)
        return RecordedValues(
            {name: column.astype(np.float32) for name, column in columns.items()},
            margins_of(clean.logits[:, kept], clean.labels[kept]),
        )


def _kept(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the places of the texts whose margins are kept, evenly spaced."""
    return np.linspace(0, len(labels) - 1, min(len(labels), MOST_TEXTS)).round().astype(np.int64)


def check_rewards(names: Sequence[str]) -> dict[str, WeightedSum]:
    """Return the rewards of names that a record may hold.

    Raises:
        UnknownNameError: No reward has this name.
        SettingsError: None is named, or one is named twice.
    """
    if not names or len(set(names)) != len(names):
        raise SettingsError(
            "A recording names each of its rewards once",
            expected="one or more, such as accuracy",
            actual=", ".join(names) or "none",
        )
    return {name: make_reward(name) for name in names}


def check_goes_on(path: Path, rewards: Sequence[str], seed: int) -> None:
    """Raise unless a recording with these arguments can go on with the file, or begin it.

    What is told by reading the model alone is checked where that is read.

    Args:
        path: The file.
        rewards: As for `Recording`.
        seed: As for `Recording`.

    Raises:
        StateError: The file belongs to another recording, is damaged, or another process records
            into it.
    """
    if path.exists():
        identity = read_record(path).identity
        asked = {"rewards": list(rewards), "seed": seed}
        check_same(path, "recording", asked, {name: identity.get(name) for name in asked})
    check_alone(path, f"{DOING} {path}")


def hidden_rates(evaluator: Evaluator, triggered: Evaluator, masks: Mask, target: int) -> Columns:
    """Return the LFR of every mask, and that at the threshold that clean data calibrates.

    Args:
        evaluator: Of the model on clean validation data.
        triggered: Of the model on triggered texts of other classes than the target.
        masks: Bool (N, L, W).
        target: Column of the attacker's label in the logits.

    Returns:
        `lfr` and `lfr_calibrated`, float64 (N,), shares.
    """
    clean, flipped = evaluator.evaluate(masks), triggered.evaluate(masks)
    rates = np.empty((2, len(masks)))
    for row, (logits, hits) in enumerate(zip(clean.logits, flipped.logits, strict=True)):
        threshold = metrics.threshold_of(logits, clean.labels, target)
        for place, at in enumerate((0.0, threshold)):
            rates[place, row] = metrics.label_flip_rate(hits, target, at).percent / 100
    return {LFR: rates[0], HIDDEN: rates[1]}
