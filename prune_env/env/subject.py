"""What an episode prunes: one suspicious model, with all that the environment needs of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prune_env.data.dataset import Rewrite
from prune_env.errors import SettingsError
from prune_env.evaluation.base import units_of
from prune_env.evaluation.guard import guard_evaluator, guard_of
from prune_env.models.masks import full_mask
from prune_env.settings import Guard

if TYPE_CHECKING:
    from prune_env.evaluation.base import Evaluator
    from prune_env.evaluation.suspect import Suspect
    from prune_env.models.units import Units


SCALE_LIMIT = 10.0
"""Standardised importance is clipped to [-SCALE_LIMIT, SCALE_LIMIT]."""


@dataclass(frozen=True, eq=False, init=False)
class Subject:
    """A suspicious model as the environment sees it: how well it does, and what its heads weigh.

    A subject holds clean data only. It is shared between environments and never copied: a
    `deepcopy` is the subject itself, and a pickle of a subject made from names holds the names.

    Args:
        evaluator: Accuracy on clean validation data under a mask.
        importance: Float (L, H, M), one value per head and metric, as the metric gives it.
        metrics: M names, in the order of the last axis of `importance`.
        name: How messages, pools and states call the model.
        rewritten: Makes an evaluator of the same model on the same texts, each passed through
            a rewrite; None where the subject holds no texts. A suspect brings its own.
        texts: The suspect, as the argument was first called.
        origin: Function and arguments that make this subject again in another process.
        suspect: The classifier itself and its clean texts, for whatever looks into the model;
            None where there are none.
        source: Where the suspicious model was loaded from.
        seconds: Wall time that it took to make the subject.

    Raises:
        SettingsError: The shapes disagree, or the importance of a head is not finite.
    """

    evaluator: "Evaluator"
    importance: npt.NDArray[np.float64]
    metrics: tuple[str, ...]
    name: str
    rewritten: Callable[[Rewrite], "Evaluator"] | None
    origin: tuple[Callable[..., "Subject"], tuple[Any, ...]] | None = field(repr=False)
    suspect: "Suspect | None"
    source: str
    seconds: float

    def __init__(  # noqa: PLR0917 - its order is public
        self,
        evaluator: "Evaluator",
        importance: npt.NDArray[np.float64],
        metrics: Sequence[str],
        name: str = "model",
        rewritten: Callable[[Rewrite], "Evaluator"] | None = None,
        texts: "Suspect | None" = None,
        origin: tuple[Callable[..., "Subject"], tuple[Any, ...]] | None = None,
        *,
        suspect: "Suspect | None" = None,
        source: str = "",
        seconds: float = 0.0,
    ) -> None:
        suspect = suspect if texts is None else texts
        values = {
            "evaluator": evaluator,
            "importance": _check_importance(name, evaluator, importance, tuple(metrics)),
            "metrics": tuple(metrics),
            "name": name,
            "rewritten": rewritten if suspect is None else suspect.rewritten,
            "origin": origin,
            "suspect": suspect,
            "source": source,
            "seconds": seconds,
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @property
    def texts(self) -> "Suspect | None":
        """The suspect, as it was first called."""
        return self.suspect

    @cached_property
    def accuracy(self) -> float:
        """Validation accuracy of the unpruned model, 0 to 1."""
        return float(self.evaluator.accuracy(full_mask(self.shape)[None])[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and heads (L, H), or layers and units (L, W)."""
        return self.evaluator.shape

    @cached_property
    def units(self) -> "Units":
        """What the columns of a mask stand for."""
        return units_of(self.evaluator)

    def on_part(self, sentences: int) -> "Subject":
        """Return this model judged on a fixed, stratified part of its validation sentences.

        Cheaper, and less exact: meant for training. The importance of the heads stays the same.

        Raises:
            SettingsError: The subject holds no texts, or not more than that.
        """
        suspect = self.require_suspect().part(sentences)
        evaluator = guard_evaluator(suspect.evaluator, guard_of(self.evaluator))
        return replace(self, evaluator=evaluator, suspect=suspect, origin=None)

    def under_guard(self, guard: Guard, tau: float | None = None) -> "Subject":
        """Return this model judged under a guard, see `evaluation.guard.choose_guard`."""
        evaluator = guard_evaluator(self.evaluator, guard, tau)
        if evaluator is self.evaluator:
            return self
        origin = None if self.origin is None else (_guarded, (guard_of(evaluator), self.origin))
        return replace(self, evaluator=evaluator, origin=origin)

    def require_suspect(self) -> "Suspect":
        """Return the classifier with its clean texts.

        Raises:
            SettingsError: The subject holds none.
        """
        if self.suspect is None:
            raise SettingsError(
                f"{self.name} holds no texts",
                expected="a model with data, or a Subject with `suspect`",
            )
        return self.suspect

    def scaled_importance(self) -> npt.NDArray[np.float32]:
        """Return the importance as observations show it, float32 (L, H, M).

        Each metric is standardised over the heads that exist, which keeps their order, and
        clipped to +-`SCALE_LIMIT`. A metric that is constant up to rounding is all zeros: its
        noise must not decide. Heads that do not exist have 0.
        """
        exists = self.evaluator.available
        scaled = np.zeros(self.importance.shape, np.float32)
        for index in range(len(self.metrics)):
            values = self.importance[..., index][exists]
            largest = np.abs(values).max(initial=0.0)
            if largest == 0:
                continue
            values = values / largest
            spread = values.std()
            if spread > 1e-9:
                standard = (values - values.mean()) / spread
                scaled[..., index][exists] = np.clip(standard, -SCALE_LIMIT, SCALE_LIMIT)
        return scaled

    def __deepcopy__(self, memo: dict[int, Any]) -> "Subject":
        return self

    def __reduce__(self) -> tuple[Callable[..., "Subject"], tuple[Any, ...]]:
        if self.origin is not None:
            return self.origin
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return partial(Subject, **fields), ()


def _guarded(guard: Guard, origin: tuple[Callable[..., Subject], tuple[Any, ...]]) -> Subject:
    """Return a subject as a copy in another process is made: found anew, under its guard."""
    make, arguments = origin
    return make(*arguments).under_guard(guard)


def _check_importance(
    name: str, evaluator: "Evaluator", importance: npt.ArrayLike, metrics: tuple[str, ...]
) -> npt.NDArray[np.float64]:
    """Return the importance as an array of its own that nobody can change."""
    values = np.array(importance, np.float64)
    layers, heads = evaluator.shape
    if values.shape != (layers, heads, len(metrics)):
        raise SettingsError(
            f"The importance of {name} does not fit its evaluator and metrics",
            expected=f"shape (L, H, M) = ({layers}, {heads}, {len(metrics)})",
            actual=f"shape {values.shape}",
            remedy="give one value per head and metric name",
        )
    if len(set(metrics)) != len(metrics):
        raise SettingsError("A metric is named twice", actual=", ".join(metrics))
    spoilt = ~np.isfinite(values[evaluator.available])
    if spoilt.any():
        bad = [metric for index, metric in enumerate(metrics) if spoilt[:, index].any()]
        raise SettingsError(
            f"The importance of {name} is not finite",
            expected="a finite number for every head",
            actual=f"NaN or Inf in {', '.join(bad)}",
            remedy="check the model's weights, or leave the metric out",
        )
    values.flags.writeable = False
    return values


def split_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return names given as a sequence, or as one string with commas.

    Example:
        >>> split_names("mask, status")
        ('mask', 'status')
    """
    if isinstance(names, str):
        return tuple(name.strip() for name in names.split(",") if name.strip())
    return tuple(names)
