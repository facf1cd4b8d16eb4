"""What an episode prunes: one suspicious model, with all that the environment needs of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prune_env.data.dataset import Rewrite
from prune_env.errors import SettingsError

if TYPE_CHECKING:
    from prune_env.evaluation.base import Evaluator
    from prune_env.evaluation.suspect import Suspect


SCALE_LIMIT = 10.0
"""Standardised importance is clipped to [-SCALE_LIMIT, SCALE_LIMIT]."""


@dataclass(frozen=True, eq=False)
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
            a rewrite; None where the subject holds no texts. Filled in from `texts`.
        texts: The classifier itself and its clean texts, for rewards that look into the model
            and for training on a part of the texts; None where there are none.
        origin: Function and arguments that make this subject again in another process.

    Raises:
        SettingsError: The shapes disagree, or the importance of a head is not finite.
    """

    evaluator: "Evaluator"
    importance: npt.NDArray[np.float64]
    metrics: tuple[str, ...]
    name: str = "model"
    rewritten: Callable[[Rewrite], "Evaluator"] | None = None
    texts: "Suspect | None" = None
    origin: tuple[Callable[..., "Subject"], tuple[Any, ...]] | None = field(
        default=None, repr=False
    )

    def __post_init__(self) -> None:
        importance = np.array(self.importance, np.float64)
        metrics = tuple(self.metrics)
        layers, heads = self.evaluator.shape
        if importance.shape != (layers, heads, len(metrics)):
            raise SettingsError(
                f"The importance of {self.name} does not fit its evaluator and metrics",
                expected=f"shape (L, H, M) = ({layers}, {heads}, {len(metrics)})",
                actual=f"shape {importance.shape}",
                remedy="give one value per head and metric name",
            )
        if len(set(metrics)) != len(metrics):
            raise SettingsError("A metric is named twice", actual=", ".join(metrics))
        if not np.isfinite(importance[self.evaluator.available]).all():
            bad = [
                name
                for index, name in enumerate(metrics)
                if not np.isfinite(importance[..., index][self.evaluator.available]).all()
            ]
            raise SettingsError(
                f"The importance of {self.name} is not finite",
                expected="a finite number for every head",
                actual=f"NaN or Inf in {', '.join(bad)}",
                remedy="check the model's weights, or leave the metric out",
            )
        importance.flags.writeable = False
        object.__setattr__(self, "importance", importance)
        object.__setattr__(self, "metrics", metrics)
        if self.texts is not None:
            object.__setattr__(self, "rewritten", self.texts.rewritten)

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and heads (L, H)."""
        return self.evaluator.shape

    def on_part(self, sentences: int) -> "Subject":
        """Return this model judged on a fixed, stratified part of its validation sentences.

        Cheaper, and less exact: meant for training. The importance of the heads stays the same.

        Raises:
            SettingsError: The subject holds no texts, or not more than that.
        """
        if self.texts is None:
            raise SettingsError(
                f"{self.name} holds no texts of which a part could be taken",
                remedy="train on all of it",
            )
        texts = self.texts.part(sentences)
        return replace(self, evaluator=texts.evaluator, texts=texts, origin=None)

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
        return Subject, (
            self.evaluator,
            self.importance,
            self.metrics,
            self.name,
            self.rewritten,
            self.texts,
        )


def split_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return names given as a sequence, or as one string with commas.

    Example:
        >>> split_names("mask, status")
        ('mask', 'status')
    """
    if isinstance(names, str):
        return tuple(name.strip() for name in names.split(",") if name.strip())
    return tuple(names)
