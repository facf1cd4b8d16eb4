"""What a strategy asks of the purifier besides its choice of heads."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prune_env.baselines.penalties import PENALTIES
from prune_env.errors import SettingsError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from prune_env.models.masks import Mask
    from prune_env.settings import FineTuneSettings
    from prune_env.training import Penalty


@dataclass(frozen=True)
class Phase:
    """One fine-tuning on clean data.

    Attributes:
        epochs: Passes over the data; None keeps the caller's.
        learning_rate_scale: Factor on the caller's learning rate.
        penalty: Name in `PENALTIES` of what is added to the loss; None adds nothing.

    Example:
        for phase in recipe.search:
            with phase.prepared(model, mask) as penalty:
                fine_tune(model, tokenizer, data, phase.adapt(settings), mask=mask, penalty=penalty)
    """

    epochs: int | None = None
    learning_rate_scale: float = 1.0
    penalty: str | None = None

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: A value is out of range.
        """
        if self.epochs is not None and self.epochs < 1:
            raise SettingsError("epochs is out of range", expected=">= 1", actual=self.epochs)
        if not self.learning_rate_scale > 0:
            raise SettingsError(
                "learning_rate_scale is out of range",
                expected="> 0",
                actual=self.learning_rate_scale,
            )

    def adapt(self, settings: "FineTuneSettings") -> "FineTuneSettings":
        """Return the caller's settings with this phase's epochs and learning rate."""
        return replace(
            settings,
            epochs=settings.epochs if self.epochs is None else self.epochs,
            learning_rate=settings.learning_rate * self.learning_rate_scale,
        )

    @contextmanager
    def prepared(
        self, model: "PreTrainedModel", mask: "Mask | None" = None
    ) -> Iterator["Penalty | None"]:
        """Make `model` ready for the phase and yield its penalty, or None where it has none.

        Args:
            model: The classifier about to be fine-tuned.
            mask: Bool (L, H), True = kept, if the model is fine-tuned under a mask.

        Raises:
            UnknownNameError: The penalty is not registered.
            UnsupportedModelError: The penalty reads attention maps and the model has none.
        """
        if self.penalty is None:
            yield None
        else:
            with PENALTIES[self.penalty](model, mask) as penalty:
                yield penalty


@dataclass(frozen=True)
class Recipe:
    """How a strategy is run from end to end.

    Attributes:
        metrics: Importance metrics that the observation must hold.
        tau: Accuracy threshold that the strategy insists on; None takes the caller's. 0 = no check.
        prune_step: Heads pruned between two checks; None takes the caller's.
        search: Fine-tunings of the suspicious encoder before the mask is searched.
        final: Fine-tunings once the mask is on: of the encoder again (`refinetune`) or as healing
            (`direct`).
        members: Masks of the ensemble; 1 = a single model.
    """

    metrics: tuple[str, ...] = ()
    tau: float | None = None
    prune_step: int | None = None
    search: tuple[Phase, ...] = (Phase(),)
    final: tuple[Phase, ...] = (Phase(),)
    members: int = 1
