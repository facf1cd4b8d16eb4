"""Healing that is stepped back until the purified model keeps tau.

Kept means the value itself, not its interval: of few rows that always reaches below tau, and every
healing would give up protection for a loss that may be none.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from prune_env.env.mask_events import tell_mask
from prune_env.env.subject import Subject
from prune_env.evaluation.guard import guarded
from prune_env.models.masks import Mask
from prune_env.purification.heal import (
    Healed,
    Unfinished,
    begin,
    check_healing,
    finish,
    heal,
    ready_for,
    steps_of,
)
from prune_env.purification.step import Step
from prune_env.purification.unlearn import Unlearn
from prune_env.purification.verdict import Verdict
from prune_env.settings import Healing, LoadingSettings, Protocol
from prune_env.training.phases import TrainingRun

log = logging.getLogger(__name__)

FORCES = (1.0, 0.5, 0.25)
"""What is tried, one after the other, of what a step may cost in accuracy."""

COSTLY = (
    "max_drop",
    "max_drop_again",
    "max_drop_unseen",
    "share",
    "share_of_few",
    "share_of_words",
    "learning_rate_scale",
    "scale_of_few",
    "rate_on_images",
)
"""Fields of steps that trade accuracy for removal of the backdoor; force is a factor on them."""


@dataclass(frozen=True)
class Attempt:
    """A healing of some force, and what it left.

    Attributes:
        force: Factor on what the steps may cost; 1 is the healing as it is.
        verdict: Of the purified model.
        last_alone: Whether the last step alone has that force.
    """

    force: float
    verdict: Verdict
    last_alone: bool = False


def milder(steps: Sequence[Step], force: float, *, last_alone: bool = False) -> tuple[Step, ...]:
    """Return steps that cost less accuracy, and remove less.

    The step that lost tau is weakened, and what it no longer removes is left to an unlearning after
    it: of more of the texts, as it is alone. Any other step after it is weakened too.

    Args:
        steps: As they are.
        force: Factor on what they may cost.
        last_alone: Whether the steps before the last had kept tau; else the first is weakened.

    Example:
        >>> milder((Unlearn(share=0.4),), 0.5)[0].share
        0.2
        >>> from prune_env.purification.refit import Refit
        >>> milder((Refit(max_drop=0.02), Unlearn(share=0.35)), 0.5)[1].share
        0.7
    """
    first = len(steps) - 1 if last_alone else 0
    lost, after = steps[first : first + 1], steps[first + 1 :]
    return (
        *steps[:first],
        *(_weaker(step, force) for step in lost),
        *(_more_unlearning(step, force) for step in after),
    )


def _more_unlearning(step: Step, force: float) -> Step:
    """Return what a step is after a weaker one."""
    if isinstance(step, Unlearn):
        return replace(step, share=max(step.share, min(step.share / force, Unlearn.share)))
    return _weaker(step, force)


def _weaker(step: Step, force: float) -> Step:
    names = [each.name for each in fields(step) if each.name in COSTLY]  # type: ignore[arg-type]
    return replace(step, **{name: force * getattr(step, name) for name in names})  # type: ignore[type-var]


def heal_above_tau(
    subject: Subject,
    masks: Sequence[Mask],
    run: TrainingRun,
    judge: Callable[[Healed], Verdict],
    *,
    protocol: Protocol = "direct",
    healing: Healing = "none",
    loading: LoadingSettings | None = None,
) -> tuple[Healed, tuple[Attempt, ...]]:
    """Heal as `heal` does, more and more mildly until tau is kept.

    The step that lost tau is stepped back: the last alone, if at full force tau was still kept
    before it; the steps before it are not done again. Only what the healing itself lost is stepped
    back for: where the model is below tau before it, there is one attempt.

    Args:
        subject: As for `heal`; likewise the other arguments.
        masks: As for `heal`.
        run: As for `heal`.
        judge: Measures a purified model.
        protocol: As for `heal`.
        healing: As for `heal`.
        loading: As for `heal`.

    Returns:
        The model of the attempt that is `chosen`, and every attempt.
    """
    steps = steps_of(healing)
    if not steps:
        healed = heal(subject, masks, run, protocol=protocol, loading=loading)
        attempts = [Attempt(FORCES[0], judge(healed))]
    else:
        check_healing(protocol, healing, subject.require_suspect().train)
        healed, attempts = _step_back(ready_for(steps, subject), masks, run, judge, steps)
    if steps or protocol != "direct":  # else it is the model under the mask, which was told
        tell_mask(masks[-1], chosen(attempts).verdict.value, "healed", model=subject.name)
    return healed, tuple(attempts)


def _step_back(
    subject: Subject,
    masks: Sequence[Mask],
    run: TrainingRun,
    judge: Callable[[Healed], Verdict],
    steps: Sequence[Step],
) -> tuple[Healed, list[Attempt]]:
    """Return the model of the attempt that is `chosen`, and every attempt."""
    best: Healed | None = None
    attempts: list[Attempt] = []
    last_alone = False
    unfinished: tuple[Unfinished, ...] = ()
    for number, force in enumerate(FORCES):
        again = run if not number else replace(run, folder=run.place(f"milder-{number}"))
        tried = milder(steps, force, last_alone=last_alone)
        if not last_alone:
            unfinished = ()  # its models are given back before there are new ones
            unfinished = begin(subject, masks, again, tried[:-1])
        # Where steps came before the last, it alone may be tried again, from where they led.
        may_go_on = len(steps) > 1 and (not number or (last_alone and number + 1 < len(FORCES)))
        members = [each.copy() for each in unfinished] if may_go_on else unfinished
        healed = finish(members, tried[-1:], again)
        verdict = judge(healed)
        attempts.append(Attempt(force, verdict, last_alone))
        if chosen(attempts) is attempts[-1]:
            best = healed
        if verdict.keeps_tau or subject.accuracy < verdict.tau:
            break
        if not number:
            last_alone = len(steps) > 1 and all(_keeps_tau(each, verdict) for each in unfinished)
        if number + 1 < len(FORCES):
            log.info(
                "%s left %.3f, below tau %.3f: it is stepped back to %g of its force",
                "The last step of healing" if last_alone else "Healing",
                verdict.value,
                verdict.tau,
                FORCES[number + 1],
            )
    assert best is not None
    return best, attempts


def _keeps_tau(unfinished: Unfinished, verdict: Verdict) -> bool:
    """Whether a model is not below a verdict's tau before its last step."""
    masked = unfinished.masked
    right, labels = masked.judge.right(), masked.suspect.validation.labels
    return bool(guarded(right[None], labels, verdict.guard)[0] >= verdict.tau)


def chosen(attempts: Sequence[Attempt]) -> Attempt:
    """Return the attempt whose model is handed out: of the highest value, of equals the mildest."""
    return max(reversed(attempts), key=lambda each: each.verdict.value)
