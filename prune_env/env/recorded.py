"""A model that was recorded: what it answers under a mask is predicted, without the model."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from prune_env.env.rewards.reward import REWARDS, Reward, Scores
from prune_env.env.subject import Subject
from prune_env.env.surrogate_check import check_surrogate, read_units
from prune_env.env.text_margins import TextMargins
from prune_env.errors import SettingsError, UnknownNameError
from prune_env.evaluation.base import Evaluation, Evaluator, check_masks
from prune_env.models.masks import Mask
from prune_env.utils.arrays import ArrayFormat

FORMAT = ArrayFormat(
    "prune-env-surrogate",
    2,
    "surrogate",
    "make it with prune-env record --surrogate FILE",
    older=(1,),
)
REWARD, HIDDEN = "reward ", "lfr_calibrated"
COMPUTED = {"sparsity", "accuracy"}
"""Rewards that a mask and its accuracy tell, so that no record of them is needed."""
REMEMBERED = 65_536
"""Masks whose values are kept, some 300 bytes each; one more, and all are forgotten."""

Floats = npt.NDArray[np.float32]


class RecordedEvaluator:
    """Answers about masks by kernel ridge regression on masks that were measured.

    A value of a mask is its mean plus a weighted sum over the measured masks of exp(-d / scale),
    d the number of units in which the two differ, kept within the values that were measured. In
    the same way the margins of the validation texts are predicted, in modes, and they tell the
    accuracy; of files of version 1, which hold no margins, it is a value like the others.

    Args:
        arrays: What a surrogate's file holds.
        facts: What it tells of itself.
        fingerprint: SHA-256 (hex) of the file.

    Attributes:
        facts: What was recorded, and `fidelity`: rank correlations on masks held out, by column.
        evaluations: Masks asked so far.
        units: What the columns of a mask stand for.
    """

    def __init__(
        self, arrays: Mapping[str, npt.NDArray[Any]], facts: dict[str, Any], fingerprint: str
    ) -> None:
        self.facts = facts
        self.fingerprint = fingerprint
        self.evaluations = 0
        self.importance = arrays["importance"].astype(np.float64)
        available = arrays["available"].astype(np.bool_)
        self.units = read_units(facts, available)
        self._columns = {name: place for place, name in enumerate(facts["columns"])}
        bits = np.unpackbits(arrays["masks"], axis=1, count=available.size)
        self._signs = 1 - 2 * bits[:, available.ravel()].astype(np.float32).T
        heads = len(self._signs)
        self._kernel = np.exp(-np.arange(heads + 1) / float(facts["scale"])).astype(np.float32)
        self._weights: Floats = arrays["weights"].astype(np.float32)
        self._mean, self._least, self._greatest = arrays["statistics"].astype(np.float64)
        self._texts = None
        if "modes" in arrays:
            mean, spread = arrays["margins"].astype(np.float64)
            modes, (offset,) = arrays["modes"].astype(np.float64), arrays["offset"].tolist()
            self._texts = TextMargins(mean, spread, modes, offset)
        self._remembered: dict[bytes, npt.NDArray[np.float64]] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and heads (L, H), or layers and units (L, W)."""
        return self.units.shape

    @property
    def available(self) -> Mask:
        """Bool (L, W), True where there is a unit."""
        return self.units.available.copy()

    def column(self, name: str, masks: Mask) -> npt.NDArray[np.float64]:
        """Return a recorded value of masks (N, L, W), predicted, float64 (N,).

        Raises:
            UnknownNameError: It was not recorded.
        """
        if name not in self._columns:
            raise UnknownNameError("recorded value", name, self._columns, described="")
        values: npt.NDArray[np.float64] = self._predict(masks)[:, self._columns[name]]
        return values

    def without(self, name: str) -> Self:
        """Return this model as if a value had not been recorded; all others to the last bit."""
        other = copy.copy(self)
        other._columns = {each: place for each, place in self._columns.items() if each != name}
        other.facts = {**self.facts, "columns": list(other._columns)}
        hidden = [place for each, place in self._columns.items() if each == name]
        # It is emptied, not cut out: products of another shape may round differently.
        for part in ("_weights", "_mean", "_least", "_greatest"):
            values = getattr(self, part).copy()
            values[..., hidden] = 0
            setattr(other, part, values)
        other._remembered = {}
        return other

    def accuracy(self, masks: Mask) -> npt.NDArray[np.float64]:
        """Return the accuracy (N,) under masks (N, L, W), predicted."""
        self.evaluations += len(masks)
        return self.column("accuracy", masks)

    def evaluate(self, masks: Mask) -> Evaluation:
        """Refuse: single answers were not recorded.

        Raises:
            SettingsError: Always.
        """
        raise SettingsError(
            "A recorded model holds accuracies and rewards, not the answers to single texts",
            remedy="play the model itself",
        )

    def _predict(self, masks: Mask) -> npt.NDArray[np.float64]:
        """Return every recorded value of masks (N, L, W), float64 (N, V)."""
        masks = self.units.in_order(check_masks(masks, self.units.available))
        kept = masks[:, self.units.available]
        values = np.empty((len(kept), len(self._mean)))
        for place, row in enumerate(kept):
            # An environment asks twice about a mask: for its accuracy and for its reward.
            key = row.tobytes()
            found = self._remembered.get(key)
            if found is None:
                if len(self._remembered) == REMEMBERED:
                    self._remembered.clear()
                found = self._remembered[key] = self._predict_one(row)
            values[place] = found
        return values

    def _predict_one(self, kept: Mask) -> npt.NDArray[np.float64]:
        """Return every recorded value of one mask (units,); in a batch it might round otherwise."""
        signs = 1 - 2 * kept.astype(np.float32)
        apart = ((len(self._signs) - signs @ self._signs) / 2).astype(np.intp)
        sums = self._kernel[apart] @ self._weights
        values = sums[: len(self._mean)] + self._mean
        found: npt.NDArray[np.float64] = np.clip(values, self._least, self._greatest)
        if self._texts is not None:
            found[self._columns["accuracy"]] = self._texts.accuracy(sums[len(self._mean) :])
        return found

    def __deepcopy__(self, memo: dict[int, object]) -> "RecordedEvaluator":
        return self


class RecordedReward(Reward):
    """What a reward was recorded as; `oracle` is the hidden 1 - LFR, calibrated.

    Args:
        name: Of the reward.
    """

    range = (0.0, 1.0)
    source = "The recorded reward"
    reads = "what was recorded of the model"

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc]  # one class stands for many rewards
        self.oracle = name == "oracle"  # type: ignore[misc]

    def check(self, subject: Subject) -> None:
        """Raise unless the subject is a recorded model, and was recorded with this reward.

        Raises:
            SettingsError: It is none, or was recorded without it.
        """
        evaluator = recorded_of(subject.evaluator)
        if evaluator is None:
            raise SettingsError(
                f"{subject.name} was not recorded, and the reward '{self.name}' was, of others",
                expected="a recorded model",
                remedy="play recorded models, or models themselves, in one environment",
            )
        if self._column not in evaluator.facts["columns"]:
            raise SettingsError(
                f"{subject.name} was recorded without the reward '{self.name}'",
                expected=f"one of {', '.join(sorted(_names_of(evaluator))) or 'none'}",
                actual=self.name,
                remedy="record it with --attack or --triggered, which the hidden LFR is of"
                if self.oracle
                else "record it with this reward, or choose another one",
            )

    def score(self, subject: Subject, masks: Mask, accuracy: Scores) -> Scores:
        """Return the score of every mask, see `Reward.score`."""
        evaluator = recorded_of(subject.evaluator)
        assert evaluator is not None
        values = evaluator.column(self._column, masks)
        return 1 - values if self.oracle else values

    @property
    def _column(self) -> str:
        return HIDDEN if self.oracle else f"{REWARD}{self.name}"


def recorded_of(evaluator: Evaluator) -> RecordedEvaluator | None:
    """Return the recorded model that an evaluator is, or views; None where it is none."""
    if isinstance(evaluator, RecordedEvaluator):
        return evaluator
    beneath: Evaluator | None = getattr(evaluator, "beneath", None)
    return None if beneath is None else recorded_of(beneath)


def recorded_rewards(subjects: Sequence[Subject]) -> dict[str, Reward]:
    """Return the rewards that the records of models stand for, by name; none of models themselves.

    The order of the models does not matter. What some were recorded with stands for all, and
    `RecordedReward.check` refuses the others. A reward that needs no record, see `COMPUTED`, is
    always computed: it pays the same in whatever company a model is played. Where every model is
    recorded, so is every other reward of this package: it would ask a model for its texts, where
    `RecordedReward.check` tells what was recorded.
    """
    recorded = [recorded_of(subject.evaluator) for subject in subjects]
    names = [_names_of(each) if each else set() for each in recorded]
    some = set().union(*names) | ({"oracle"} if any(recorded) else set())  # no object stands here
    if all(recorded):
        some |= _shipped()
    return {name: RecordedReward(name) for name in sorted(some - COMPUTED)}


def _shipped() -> set[str]:
    """Return the rewards of this package that read a model; one of others may read masks alone."""
    return {
        entry.name
        for entry in REWARDS
        if isinstance(entry.target, str)
        and not entry.distribution
        and entry.target.startswith("prune_env.")
    }


def _names_of(evaluator: RecordedEvaluator) -> set[str]:
    """Return the rewards that a model was recorded with."""
    columns = evaluator.facts["columns"]
    names = {name.removeprefix(REWARD) for name in columns if name.startswith(REWARD)}
    return names | ({"oracle"} if HIDDEN in columns else set())


def read_surrogate(path: str | Path) -> RecordedEvaluator:
    """Return what answers from a surrogate's file; nothing in it can run code.

    Raises:
        StateError: There is no such file, or it is damaged or of another kind.
    """
    with FORMAT.reading(path) as (head, arrays, sha256):
        check_surrogate(arrays, head["facts"])
        return RecordedEvaluator(arrays, head["facts"], sha256)


def recorded_subject(model: str, metrics: Sequence[str]) -> Subject:
    """Return a recorded model as one plays it.

    Args:
        model: Path of the surrogate, `.npz`.
        metrics: Names of importance metrics, of those that were recorded.

    Raises:
        SettingsError: A metric was not recorded.
        StateError: There is no such file, or it is damaged.
    """
    path = Path(model)
    name = path.stem
    evaluator = read_surrogate(path)
    known = evaluator.facts["metrics"]
    missing = [metric for metric in metrics if metric not in known]
    if missing:
        raise SettingsError(
            f"{name} was recorded without importance metrics that are asked for",
            expected=f"some of {', '.join(known)}",
            actual=", ".join(missing),
        )
    importance = evaluator.importance[..., [known.index(metric) for metric in metrics]]
    origin = (recorded_subject, (model, tuple(metrics)))
    return Subject(evaluator, importance, tuple(metrics), name, origin=origin)
