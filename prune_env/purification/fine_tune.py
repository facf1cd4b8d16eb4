"""Healing by fine-tuning under the mask: of the classification head, or of everything."""

from dataclasses import dataclass, replace

from prune_env.models.heads import encoder_of
from prune_env.purification.step import MaskedModel, Step, StepReport
from prune_env.training.phases import Phase, TrainingRun, run_phases


@dataclass(frozen=True)
class FineTune(Step):
    """One epoch of each of the strategy's fine-tunings.

    Attributes:
        learning_rate_scale: Factor on their learning rates. A full second fine-tuning at the whole
            rate grows the backdoor back.
        head_only: Train the classification head alone, in one plain fine-tuning: the new optimum
            of a linear head is near, and its encoder stands still.
    """

    learning_rate_scale: float
    head_only: bool = False

    def apply(self, model: MaskedModel, run: TrainingRun) -> StepReport:
        """Fine-tune, see `Step.apply`."""
        classifier = model.loaded.model
        phases = (Phase(),) if self.head_only else run.phases
        gentle = tuple(
            replace(
                phase,
                epochs=1,
                learning_rate_scale=self.learning_rate_scale * phase.learning_rate_scale,
            )
            for phase in phases
        )
        encoder_of(classifier).requires_grad_(not self.head_only)
        try:
            run_phases(
                replace(run, phases=gentle),
                model.loaded,
                model.suspect.train,
                mask=model.mask,
                description="Healing under the mask",
            )
        finally:
            classifier.requires_grad_(True)
        return StepReport()
