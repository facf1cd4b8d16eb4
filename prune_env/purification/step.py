"""What a healing is made of: steps that change a masked model, each with a report."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from prune_env.data.dataset import TextDataset
from prune_env.evaluation.suspect import Suspect
from prune_env.inversion.patches import Patches
from prune_env.inversion.search import Inversion
from prune_env.models import LoadedModel
from prune_env.models.masks import Mask
from prune_env.models.set_aside import set_aside
from prune_env.purification.judge import Judge
from prune_env.settings import Guard
from prune_env.training.phases import TrainingRun

FEW_TEXTS = 1024
"""Of fewer clean texts a fine-tuning after a refit would learn by heart what it reads as it is."""


@dataclass(frozen=True, eq=False)
class MaskedModel:
    """A copy of a suspicious classifier under a mask, which steps change in place.

    Attributes:
        loaded: The copy, its pruned heads zeroed.
        mask: Bool (L, H), True = kept; pruned heads stay closed whatever a step does.
        suspect: The classifier as it is without a mask, with its clean data.
        guard: What tau is compared with.
    """

    loaded: LoadedModel
    mask: Mask
    suspect: Suspect
    guard: Guard = "accuracy"

    @cached_property
    def judge(self) -> Judge:
        """Its answers to the clean validation data, whatever a step has done to it."""
        return Judge(self.loaded, self.suspect.validation, self.suspect.max_length, self.guard)

    def alone(self) -> AbstractContextManager[None]:
        """Set the suspect's own weights aside, where only the copy is worked on."""
        own = self.suspect.loaded.model
        return nullcontext() if own is self.loaded.model else set_aside(own)


@dataclass(frozen=True)
class RefitReport:
    """What one refit did.

    Attributes:
        strength: lambda over the mean variance of a map's inputs; 0 where nothing was changed.
        kept: Squared norm of the weights over what it was before, the mean over the maps.
        accuracy: Accuracy (0 to 1) after it at calibrated shifts, on the validation rows that its
            strength was chosen on; as tau's guard counts it.
        unseen_tokens: Tokens that were replaced by their neighbours before it.
    """

    strength: float
    kept: float
    accuracy: float
    unseen_tokens: int = 0


@dataclass(frozen=True)
class StepReport:
    """What a step did.

    Attributes:
        refits: Of every round.
        inverted: Triggers that were found in the classifier without a mask.
        left: The same, with what they still flip after the step.
    """

    refits: tuple[RefitReport, ...] = ()
    inverted: Inversion | Patches | None = None
    left: Inversion | Patches | None = None


class Step(ABC):
    """One thing that is done to a masked model; its settings are the fields of the subclass."""

    removes_backdoor: ClassVar[bool] = False
    """Whether the step removes a backdoor itself, whether or not a head went."""

    def check(self, train: TextDataset) -> None:  # noqa: B027 - few steps have demands
        """Raise a `SettingsError` if the step has no sense on such data."""

    @abstractmethod
    def apply(self, model: MaskedModel, run: TrainingRun) -> StepReport:
        """Change the model in place.

        Args:
            model: The model, and the clean data that may be read.
            run: How fine-tunings are run.
        """
