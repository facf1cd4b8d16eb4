"""What an evaluator answers, and the rules by which an answer is right."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from prune_env.errors import SettingsError
from prune_env.models.masks import Mask
from prune_env.models.units import Units

NO_CLASS = -1
"""The predicted class of a sample whose logits are not finite: it equals no label."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The answers of a classifier under N masks on S samples.

    The predicted class is the one with the largest logit, the lowest index among equals. A sample
    with a logit that is NaN or infinite has the class `NO_CLASS`, is wrong, and has the margin
    -inf and an infinite loss: it is never dropped.

    Attributes:
        logits: float32 (N, S, C).
        labels: int64 (S,).
        predictions: int64 (N, S).
        correct: bool (N, S).
        margins: float32 (N, S), logit of the label minus the largest other logit.
        accuracy: float64 (N,), share of correct samples.
        loss: float64 (N,), mean cross entropy in nats.
    """

    logits: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    predictions: npt.NDArray[np.int64]
    correct: npt.NDArray[np.bool_]
    margins: npt.NDArray[np.float32]
    accuracy: npt.NDArray[np.float64]
    loss: npt.NDArray[np.float64]

    @classmethod
    def from_logits(
        cls, logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
    ) -> "Evaluation":
        """Judge logits (N, S, C) against labels (S,)."""
        predictions = predicted_classes(logits)
        correct = predictions == labels
        finite = predictions != NO_CLASS
        safe = np.where(finite[..., None], logits, np.float32(0)).astype(np.float64)
        own = np.take_along_axis(safe, labels[None, :, None], axis=2)[..., 0]
        others = safe.copy()
        np.put_along_axis(others, labels[None, :, None], -np.inf, axis=2)
        margins = np.where(finite, own - others.max(axis=2), -np.inf)
        top = safe.max(axis=2)
        cross_entropy = top + np.log(np.exp(safe - top[..., None]).sum(axis=2)) - own
        return cls(
            logits=logits,
            labels=labels,
            predictions=predictions,
            correct=correct,
            margins=margins.astype(np.float32),
            accuracy=correct.mean(axis=1),
            loss=np.where(finite, cross_entropy, np.inf).mean(axis=1),
        )

    def select(self, samples: npt.NDArray[np.int64] | slice) -> "Evaluation":
        """Return the evaluation of some of the samples only."""
        return Evaluation.from_logits(self.logits[:, samples], self.labels[samples])


@runtime_checkable
class Evaluator(Protocol):
    """Answers how well one model does on fixed data under head masks."""

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and heads of a mask (L, H)."""
        ...

    @property
    def available(self) -> Mask:
        """Bool (L, H), True where a head exists."""
        ...

    @property
    def evaluations(self) -> int:
        """Masks that were really computed since creation; a remembered mask costs none."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the model's weights, the data and the settings of the evaluator."""
        ...

    def evaluate(self, masks: Mask) -> Evaluation:
        """Return the answers under masks (N, L, H)."""
        ...

    def accuracy(self, masks: Mask) -> npt.NDArray[np.float64]:
        """Return the accuracy (N,) under masks (N, L, H)."""
        ...


def units_of(evaluator: Evaluator) -> Units:
    """Return what the columns of an evaluator's masks stand for: heads, unless it says more."""
    beneath: Evaluator | None = getattr(evaluator, "beneath", None)
    if beneath is not None:
        return units_of(beneath)
    units = getattr(evaluator, "units", None)
    return units if isinstance(units, Units) else Units.of_heads(evaluator.available)


def predicted_classes(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return the class (...) of logits (..., C): the first of the largest, or `NO_CLASS`."""
    return np.where(np.isfinite(logits).all(axis=-1), logits.argmax(axis=-1), NO_CLASS)


def top_two_gap(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return by how much the largest logit leads the next (...); 0 where one is not finite."""
    top = np.partition(logits, -2, axis=-1)[..., -2:]
    with np.errstate(invalid="ignore"):
        gap = top[..., 1] - top[..., 0]
    return np.where(np.isfinite(logits).all(axis=-1), gap, np.float32(0))


def check_masks(masks: npt.ArrayLike, available: Mask) -> Mask:
    """Return masks as a new bool array (N, L, H); heads that do not exist count as pruned.

    Raises:
        SettingsError: The array has another shape, or holds values other than 0 and 1.
    """
    array = np.asarray(masks)
    if array.ndim != 3 or array.shape[1:] != available.shape:
        layers, heads = available.shape
        raise SettingsError(
            "The masks do not fit the model",
            expected=f"shape (N, {layers}, {heads})",
            actual=f"shape {array.shape}",
            remedy="give a batch of masks; one mask is masks[None]",
        )
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        raise SettingsError(
            "A mask holds values other than True and False",
            expected="bool, True = kept",
            actual=f"dtype {array.dtype}",
            remedy="use soft gates with HeadGates; an evaluator keeps or prunes",
        )
    return array.astype(np.bool_) & available
