"""Healing is stepped back until tau is kept."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from prune_env.models import full_mask
from prune_env.purification import make_subject
from prune_env.purification.heal import HEALINGS, Healed
from prune_env.purification.judge import Judge
from prune_env.purification.milder import (
    Attempt,
    chosen,
    heal_above_tau,
    milder,
)
from prune_env.purification.refit import Refit
from prune_env.purification.step import MaskedModel, Step, StepReport
from prune_env.purification.unlearn import Unlearn
from prune_env.purification.verdict import Verdict
from prune_env.settings import FineTuneSettings, Guard
from prune_env.training.phases import TrainingRun
from tests.models.tiny import tiny_classifier
from tests.support import tiny_dataset


@dataclass(frozen=True)
class Spoil(Step):
    """Shifts the head's bias by its share, so that a judge can read it there."""

    share: float = 0.8

    def apply(self, model: MaskedModel, run: TrainingRun) -> StepReport:
        with torch.no_grad():
            model.loaded.model.classifier.bias[0] += self.share
        return StepReport()


def a_verdict(value: float, tau: float = 0.6) -> Verdict:
    return Verdict(tau, "accuracy", value, value, value, value, {}, 10)


def heal_with(
    monkeypatch: pytest.MonkeyPatch,
    value_of: Callable[[float], float],
    tau: float = 0.0,
    steps: tuple[Step, ...] = (Spoil(),),
) -> tuple[float, tuple[Attempt, ...]]:
    """Return the share that is in the model handed out, and the attempts."""
    monkeypatch.setitem(HEALINGS, "full", steps)
    loaded = tiny_classifier("bert")
    before = loaded.model.classifier.bias[0].item()
    subject = make_subject(loaded, "here", tiny_dataset(20), tiny_dataset(20, 1))

    def share(healed: Healed) -> float:
        return healed.model.model.classifier.bias[0].item() - before

    healed, attempts = heal_above_tau(
        subject,
        [full_mask(subject.shape)],
        TrainingRun(FineTuneSettings()),
        lambda one: a_verdict(value_of(share(one)), tau or subject.accuracy),
        healing="full",
    )
    assert loaded.model.classifier.bias[0].item() == before
    return share(healed), attempts


def test_the_first_form_that_keeps_tau_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    share, attempts = heal_with(monkeypatch, lambda share: 0.0 if share > 0.5 else 1.0)
    assert share == pytest.approx(0.4, abs=1e-6)
    assert [each.force for each in attempts] == [1.0, 0.5]
    assert chosen(attempts).force == 0.5


def test_what_keeps_tau_is_not_stepped_back(monkeypatch: pytest.MonkeyPatch) -> None:
    share, attempts = heal_with(monkeypatch, lambda share: 1.0)
    assert (share, len(attempts)) == (pytest.approx(0.8, abs=1e-6), 1)


def test_where_nothing_keeps_tau_the_best_is_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    share, attempts = heal_with(
        monkeypatch, lambda share: -0.1 if abs(share - 0.4) > 0.1 else -0.05
    )
    assert share == pytest.approx(0.4, abs=1e-6)
    assert len(attempts) == 3
    assert chosen(attempts).force == 0.5


def test_what_was_below_tau_before_is_healed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, attempts = heal_with(monkeypatch, lambda share: 0.0, tau=1.1)
    assert len(attempts) == 1


def test_force_scales_what_costs_accuracy() -> None:
    (unlearn,) = milder((Unlearn(share=0.4),), 0.5)
    assert unlearn == Unlearn(
        0.2,
        share_of_few=0.35,
        share_of_words=0.25,
        learning_rate_scale=0.3,
        rate_on_images=1.0,
    )
    drops = {"max_drop": 0.04, "max_drop_again": 0.12, "max_drop_unseen": 0.08}
    (refit,) = milder((Refit(**drops, learning_rate_scale=2.0),), 0.25)
    quarter = {name: drop / 4 for name, drop in drops.items()}
    assert refit == Refit(**quarter, learning_rate_scale=0.5, scale_of_few=0.25)
    assert milder((Refit(), Unlearn()), 1.0) == (Refit(), Unlearn())


@pytest.mark.parametrize("kept", [True, False])
def test_the_step_that_lost_tau_is_stepped_back(
    monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    rows = np.full(20, kept)
    monkeypatch.setattr(Judge, "right", lambda judge: rows)
    steps = (Spoil(share=0.8), Spoil(share=0.8))
    share, attempts = heal_with(monkeypatch, lambda share: 0.0 if share > 1.3 else 1.0, steps=steps)
    assert share == pytest.approx(0.8 + 0.4 if kept else 0.4 + 0.4, abs=1e-6)
    assert [(each.force, each.last_alone) for each in attempts] == [(1.0, False), (0.5, kept)]


@dataclass(frozen=True)
class Counted(Spoil):
    """Tells a list how often it was applied, and by which share."""

    done: list[float] = field(default_factory=list)

    def apply(self, model: MaskedModel, run: TrainingRun) -> StepReport:
        self.done.append(self.share)
        return super().apply(model, run)


@pytest.mark.parametrize("kept", [True, False])
def test_what_kept_tau_is_not_done_again(monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    monkeypatch.setattr(Judge, "right", lambda judge: np.full(20, kept))
    first, last = Counted(share=0.8), Counted(share=0.4)
    share, attempts = heal_with(monkeypatch, lambda share: 0.0, tau=0.1, steps=(first, last))
    assert first.done == pytest.approx([0.8] if kept else [0.8, 0.4, 0.2])
    assert last.done == pytest.approx([0.4, 0.2, 0.1])
    # Equally bad, the mildest is handed out, with nothing in it of the forms before.
    assert share == pytest.approx(0.8 + 0.1 if kept else 0.2 + 0.1, abs=1e-6)
    assert len(attempts) == 3


def test_unlearning_is_not_strengthened_where_it_lost_tau() -> None:
    steps = (Refit(), Unlearn(share=0.35))
    refit, unlearn = milder(steps, 0.5, last_alone=True)
    assert refit == steps[0]
    assert unlearn == milder((steps[1],), 0.5)[0]


@pytest.mark.parametrize(
    ("share", "force", "expected"), [(0.35, 0.5, 0.7), (0.35, 0.25, 0.7), (0.8, 0.5, 0.8)]
)
def test_unlearning_does_what_a_weaker_refit_leaves(
    share: float, force: float, expected: float
) -> None:
    refit, unlearn = milder((Refit(), Unlearn(share=share)), force)
    assert refit == milder((Refit(),), force)[0]
    assert unlearn == Unlearn(share=expected)


def test_of_equals_the_mildest_is_handed_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    share, attempts = heal_with(monkeypatch, lambda share: -0.1)
    assert share == pytest.approx(0.2, abs=1e-6)
    assert chosen(attempts).force == 0.25


def test_the_last_step_is_not_blamed_for_what_one_before_it_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Asked once, after the second step.
    monkeypatch.setattr(Judge, "right", lambda judge: np.full(20, False))
    steps = (Spoil(share=0.8), Spoil(share=0.8), Spoil(share=0.8))
    share, attempts = heal_with(monkeypatch, lambda share: 0.0 if share > 1.3 else 1.0, steps=steps)
    assert share == pytest.approx(3 * 0.4, abs=1e-6)
    assert not attempts[1].last_alone


@pytest.mark.parametrize(("guard", "kept"), [("accuracy", True), ("balanced", False)])
def test_what_the_steps_before_the_last_left_is_judged_by_the_guard(
    monkeypatch: pytest.MonkeyPatch, guard: Guard, kept: bool
) -> None:
    # A constant answer already before the last step.
    monkeypatch.setitem(HEALINGS, "full", (Spoil(share=1e4), Spoil(share=0.1)))
    subject = make_subject(tiny_classifier("bert"), "here", tiny_dataset(20), tiny_dataset(20, 1))
    lost = replace(a_verdict(0.0, tau=0.4), guard=guard)
    _, attempts = heal_above_tau(
        subject,
        [full_mask(subject.shape)],
        TrainingRun(FineTuneSettings()),
        lambda healed: lost,
        healing="full",
    )
    assert attempts[1].last_alone == kept


def test_of_several_members_none_may_have_lost_it_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEALINGS, "full", (Spoil(), Spoil()))
    subject = make_subject(tiny_classifier("bert"), "here", tiny_dataset(20), tiny_dataset(20, 1))
    kept = iter((True, False))
    monkeypatch.setattr(Judge, "right", lambda judge: np.full(20, next(kept)))
    _, attempts = heal_above_tau(
        subject,
        [full_mask(subject.shape)] * 2,
        TrainingRun(FineTuneSettings()),
        lambda healed: a_verdict(0.0, tau=subject.accuracy),
        healing="full",
    )
    assert not attempts[1].last_alone


def test_every_attempt_has_a_folder_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders: list[Path | None] = []

    @dataclass(frozen=True)
    class Place(Step):
        def apply(self, model: MaskedModel, run: TrainingRun) -> StepReport:
            folders.append(run.folder)
            return StepReport()

    monkeypatch.setitem(HEALINGS, "full", (Place(),))
    subject = make_subject(tiny_classifier("bert"), "here", tiny_dataset(20), tiny_dataset(20, 1))
    masks, run = [full_mask(subject.shape)], TrainingRun(FineTuneSettings(), folder=tmp_path)
    judged = a_verdict(-0.1, tau=subject.accuracy)
    heal_above_tau(subject, masks, run, lambda _: judged, healing="full")
    assert len(set(folders)) == len(folders) == 3
