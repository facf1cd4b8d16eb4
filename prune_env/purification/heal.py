"""Third step: the mask becomes a purified model, healed step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from torch import nn

from prune_env.data.dataset import TextDataset
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError, UnknownNameError
from prune_env.evaluation.guard import guard_of
from prune_env.models import LoadedModel, zero_heads
from prune_env.models.ensemble import make_ensemble
from prune_env.models.masks import Mask
from prune_env.models.unit_gates import write_units
from prune_env.models.unit_map import UnitMap
from prune_env.purification.fine_tune import FineTune
from prune_env.purification.prepare import load_suspicious
from prune_env.purification.refit import Refit
from prune_env.purification.step import MaskedModel, Step, StepReport
from prune_env.purification.unlearn import Unlearn
from prune_env.settings import Healing, LoadingSettings, Protocol
from prune_env.training.phases import TrainingRun, run_phases

HEALINGS: Mapping[Healing, tuple[Step, ...]] = {
    "none": (),
    "head": (FineTune(learning_rate_scale=10.0, head_only=True),),
    "full": (FineTune(learning_rate_scale=0.2),),
    "refit": (Refit(),),
    "unlearn": (Unlearn(),),
    "refit-unlearn": (Refit(), Unlearn(share=0.35)),
}
"""What each healing does, one step after the other."""


@dataclass(frozen=True, eq=False)
class Healed:
    """A purified model, and what made it one.

    Attributes:
        model: Its pruned heads are zeroed in its weights; of several masks, it is an `Ensemble`.
        reports: Of every step, member by member.
    """

    model: LoadedModel
    reports: tuple[StepReport, ...] = ()


@dataclass(frozen=True, eq=False)
class Unfinished:
    """A masked model before the last step of its healing.

    Attributes:
        masked: The model; the last step changes it in place.
        reports: Of the steps before.
    """

    masked: MaskedModel
    reports: tuple[StepReport, ...] = ()

    def copy(self) -> "Unfinished":
        """Return the same with a model of its own."""
        return replace(self, masked=replace(self.masked, loaded=self.masked.loaded.copy()))


def heal(
    subject: Subject,
    masks: Sequence[Mask],
    run: TrainingRun,
    *,
    protocol: Protocol = "direct",
    healing: Healing = "none",
    loading: LoadingSettings | None = None,
) -> Healed:
    """Make the purified model from a mask, or from the masks of an ensemble.

    Args:
        subject: What `prepare` returned; its fine-tuned model is left as it is.
        masks: Bool (L, H) each, True = kept; several make an ensemble.
        run: The fine-tunings once the mask is on.
        protocol: `direct` puts the mask on the fine-tuned model; `refinetune`, the paper's, puts
            it on the suspicious encoder, which is then fine-tuned with a new head.
        healing: What is done once the mask is on, under `direct`; see `HEALINGS`.
        loading: As of `prepare`.

    Raises:
        SettingsError: See `check_healing`.
    """
    check_healing(protocol, healing, subject.require_suspect().train)
    steps = steps_of(healing)
    subject = ready_for(steps, subject)
    if protocol == "refinetune":
        return fine_tune_again(subject, masks, run, loading)
    return apply_steps(subject, masks, run, steps)


def ready_for(steps: Sequence[Step], subject: Subject) -> Subject:
    """Return a subject for one healing: what is found out on the way is forgotten with it.

    What the search of masks held for speed is given back, where memory is needed for training.
    """
    suspect = subject.require_suspect()
    if steps:
        suspect.release()
    return replace(subject, suspect=replace(suspect))


def apply_steps(
    subject: Subject, masks: Sequence[Mask], run: TrainingRun, steps: Sequence[Step]
) -> Healed:
    """Heal by steps of one's own; what they find out about the suspect is remembered there.

    Arguments as those of `heal`, under `direct`.
    """
    suspect = subject.require_suspect()
    if len(masks) > 1 and not steps:
        return Healed(make_ensemble(suspect.loaded, [suspect.loaded.model], masks))
    return finish(begin(subject, masks, run, steps[:-1]), steps[-1:], run)


def begin(
    subject: Subject, masks: Sequence[Mask], run: TrainingRun, steps: Sequence[Step]
) -> tuple[Unfinished, ...]:
    """Put each mask on a copy of the model, and apply the steps before the last; see `heal`."""
    suspect = subject.require_suspect()
    unfinished = []
    for mask in masks:
        loaded = suspect.loaded.copy()
        _put_on(loaded.model, mask, suspect.unit_map)
        masked = MaskedModel(loaded, mask, suspect, guard_of(subject.evaluator))
        unfinished.append(Unfinished(masked, tuple(step.apply(masked, run) for step in steps)))
    return tuple(unfinished)


def finish(unfinished: Sequence[Unfinished], last: Sequence[Step], run: TrainingRun) -> Healed:
    """Apply the last step, or none, in place.

    Args:
        unfinished: What `begin` returned, or copies of it.
        last: The last step; empty, where a healing has no steps.
        run: As for `heal`.
    """
    reports: list[StepReport] = []
    for each in unfinished:
        masked = each.masked
        reports += (*each.reports, *(step.apply(masked, run) for step in last))
        _put_on(masked.loaded.model, masked.mask, masked.suspect.unit_map)
    members = [each.masked.loaded for each in unfinished]
    model = _handed_out(members, [each.masked.mask for each in unfinished])
    return Healed(model, tuple(reports))


def fine_tune_again(
    subject: Subject, masks: Sequence[Mask], run: TrainingRun, loading: LoadingSettings | None
) -> Healed:
    """Fine-tune the suspicious encoder under each mask, as `heal` does under `refinetune`."""
    suspect, members = subject.require_suspect(), []
    for mask in masks:
        member = load_suspicious(subject.source, suspect.train, run.seed, loading)
        run_phases(run, member, suspect.train, mask=mask, description="Fine-tuning under the mask")
        _put_on(member.model, mask, suspect.unit_map)
        members.append(member)
    return Healed(_handed_out(members, masks))


def _handed_out(members: Sequence[LoadedModel], masks: Sequence[Mask]) -> LoadedModel:
    """Return the one model, or an ensemble of several."""
    if len(members) == 1:
        return members[0]
    return make_ensemble(members[0], [member.model for member in members], masks)


def _put_on(model: nn.Module, mask: Mask, unit_map: UnitMap | None) -> None:
    """Write a mask, of heads or of units, into the weights."""
    if unit_map is None:
        zero_heads(model, mask)
    else:
        write_units(model, unit_map, mask)


def steps_of(healing: Healing) -> tuple[Step, ...]:
    """Return what a healing does, one step after the other.

    Raises:
        UnknownNameError: No healing has this name.
    """
    if healing not in HEALINGS:
        raise UnknownNameError("healing", healing, HEALINGS, "prune-env purify --help")
    return HEALINGS[healing]


def removes_backdoor(healing: Healing) -> bool:
    """Whether a healing removes a backdoor itself, whether or not a head goes."""
    return any(step.removes_backdoor for step in steps_of(healing))


def check_healing(protocol: Protocol, healing: Healing, train: TextDataset) -> None:
    """Refuse healing where everything is trained anyway, and steps where they have no sense.

    Raises:
        UnknownNameError: A name is unknown.
        SettingsError: Healing with `refinetune`; or unlearning on anything but texts of
            several classes.
    """
    if protocol not in get_args(Protocol):
        raise UnknownNameError("protocol", protocol, get_args(Protocol), "prune-env purify --help")
    for step in steps_of(healing):
        step.check(train)
    if protocol == "refinetune" and healing != "none":
        raise SettingsError(
            "Healing belongs to the protocol `direct`",
            expected="healing none",
            actual=f"{healing} with {protocol}",
        )
