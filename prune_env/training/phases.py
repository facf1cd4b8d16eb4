"""Fine-tunings on clean data, which a strategy may ask for besides its choice of heads."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from prune_env.errors import SettingsError
from prune_env.settings import FineTuneSettings
from prune_env.utils.registry import Registry

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from prune_env.data.dataset import TextDataset
    from prune_env.models import LoadedModel
    from prune_env.models.masks import Mask
    from prune_env.training.fine_tuning import Penalty


PenaltyFactory = Callable[["PreTrainedModel", "Mask | None"], "AbstractContextManager[Penalty]"]
"""Takes the model and its mask; the context makes the model ready and yields the penalty.

The penalty is called after each forward pass as `penalty(model, inputs, outputs)`, `inputs` being
the batch with its labels, and returns a scalar.
"""

PENALTIES: Registry[PenaltyFactory] = Registry("penalty")
"""Terms that a strategy adds to the loss while it fine-tunes; `baselines` registers its own."""


@dataclass(frozen=True)
class Phase:
    """One fine-tuning on clean data.

    Attributes:
        epochs: Passes over the data; None keeps the caller's.
        learning_rate_scale: Factor on the caller's learning rate.
        penalty: Name in `PENALTIES` of what is added to the loss; None adds nothing.
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

    def adapt(self, settings: FineTuneSettings) -> FineTuneSettings:
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
class TrainingRun:
    """How the fine-tunings of one job are run.

    Attributes:
        settings: The caller's hyperparameters, which a phase adapts.
        phases: What a strategy asks for, one after the other.
        seed: Of every draw.
        folder: Where TensorBoard events go; None writes none.
    """

    settings: FineTuneSettings
    phases: tuple[Phase, ...] = (Phase(),)
    seed: int = 0
    folder: Path | None = None

    def place(self, name: str) -> Path | None:
        """Return the folder of the events of one fine-tuning among several."""
        return None if self.folder is None else self.folder / name


def run_phases(
    run: TrainingRun,
    loaded: "LoadedModel",
    data: "TextDataset",
    *,
    mask: "Mask | None" = None,
    description: str = "Fine-tuning",
) -> None:
    """Fine-tune a model in place, phase by phase.

    Args:
        run: What to do.
        loaded: Classifier and tokenizer.
        data: Clean sentences.
        mask: Bool (L, H), True = kept; pruned heads stay closed.
        description: Text of the progress bar.
    """
    from prune_env.training.fine_tuning import fine_tune  # noqa: PLC0415 - phases are read without torch

    for phase in run.phases:
        with phase.prepared(loaded.model, mask) as penalty:
            fine_tune(
                loaded.model,
                loaded.tokenizer,
                data,
                phase.adapt(run.settings),
                seed=run.seed,
                folder=run.folder,
                mask=mask,
                penalty=penalty,
                description=description,
            )
