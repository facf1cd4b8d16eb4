"""Events of masks: what is told while a policy plays or learns, for whoever watches the run."""

from collections.abc import Mapping
from typing import Any

from prune_env.env.subject import Subject
from prune_env.evaluation import Evaluator
from prune_env.evaluation.guard import unguarded
from prune_env.models.masks import Mask
from prune_env.utils.event_kinds import (
    MasksCounted,
    MaskSet,
    ModelShown,
    Stage,
    mask_rows,
)
from prune_env.utils.events import due, emit, recorded


def tell_subject(subject: Subject, tau: float, accuracy: float) -> None:
    """Tell which model is pruned from now on.

    Args:
        subject: The model.
        tau: Accuracy that a mask must keep.
        accuracy: Of the unpruned model, on the data that masks are judged on.
    """
    if not recorded():
        return
    suspect = subject.suspect
    emit(
        ModelShown(
            model=subject.name,
            available=mask_rows(subject.evaluator.available),
            accuracy=accuracy,
            tau=tau,
            rows=None if suspect is None else len(suspect.validation),
            labels=[] if suspect is None else list(suspect.loaded.label_names),
            importance={
                name: subject.importance[..., index].tolist()
                for index, name in enumerate(subject.metrics)
            },
            heads=None if subject.units.heads_only else subject.units.heads,
        )
    )


def tell_step(info: Mapping[str, Any], action: int, reward: float, step: int) -> None:
    """Tell of a step of an episode that is played.

    Args:
        info: Of the environment, after the step.
        action: That was taken.
        reward: That it brought.
        step: Its number, from 1.
    """
    if not recorded():
        return
    mask: Mask = info["mask"]
    head = None if action >= mask.size else [action // mask.shape[1], action % mask.shape[1]]
    emit(
        MaskSet(
            mask_rows(mask),
            info["accuracy"],
            "search",
            model=info["model"],
            action=head,
            reward=reward,
            terms=dict(info["reward_terms"]),
            step=step,
        )
    )


def tell_mask(
    mask: Mask,
    accuracy: float,
    stage: Stage,
    *,
    model: str = "model",
    reward: float | None = None,
    terms: Mapping[str, float] | None = None,
    step: int | None = None,
    sometimes: bool = False,
) -> None:
    """Tell of a mask.

    Args:
        mask: Bool (L, H), True = kept.
        accuracy: Under it, on clean validation data.
        stage: Where in the run.
        model: Name of the model.
        reward: What the episode that left it was paid.
        terms: The parts of that.
        step: Of the learning.
        sometimes: Leave it out where one was told just now.
    """
    if not (due(MaskSet) if sometimes else recorded()):
        return
    emit(
        MaskSet(
            mask_rows(mask),
            accuracy,
            stage,
            model=model,
            reward=reward,
            terms=dict(terms or {}),
            step=step,
        )
    )


def tell_counts(evaluator: Evaluator, *, last: bool = False) -> None:
    """Tell how many masks an evaluator was asked, and how many of them it computed.

    Args:
        evaluator: As it stands.
        last: Tell it also where it was told just now: there is no more to come.
    """
    from prune_env.evaluation import MaskEvaluator  # noqa: PLC0415 - imports torch

    evaluator = unguarded(evaluator)
    computed = evaluator.evaluations
    remembered = evaluator.memo_hits if isinstance(evaluator, MaskEvaluator) else 0
    emit(MasksCounted(asked=computed + remembered, computed=computed), sometimes=not last)
