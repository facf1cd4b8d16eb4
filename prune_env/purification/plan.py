"""What `purify` is asked for: settings, what `auto` stands for, and what is refused in advance."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np

from prune_env.data.checks import overlap, require_all_labels, require_one_form
from prune_env.data.dataset import TextDataset
from prune_env.data.images import ImageDataset
from prune_env.data.unlabelled import Unlabelled
from prune_env.env.policy import Requirements, requirements_of
from prune_env.env.rewards.reward import make_reward
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError
from prune_env.models import find_source, head_shape, load_mask
from prune_env.models.onnx import require_onnx
from prune_env.models.source import read_config
from prune_env.purification.heal import check_healing, removes_backdoor, steps_of
from prune_env.purification.hybrid import check_hybrid
from prune_env.purification.prepare import metrics_for
from prune_env.purification.refit import Refit
from prune_env.purification.step import FEW_TEXTS
from prune_env.purification.unlearn import unlearnable
from prune_env.settings import (
    Export,
    FineTuneSettings,
    Healing,
    LoadingSettings,
    Protocol,
    Pruned,
    SearchSettings,
    check_seed,
)
from prune_env.training.phases import Phase, TrainingRun
from prune_env.training.teacher import require_scikit_learn

AUTO: Final = "auto"

READ = 6144
"""Texts that an encoder is fine-tuned on before a refit, about, counted as often as they are read.
After three epochs of 6,920 a refit leaves 1.2 and 0.6 points less accuracy on the styles than after
one, and more of the backdoor: what a model has learned by heart it does not learn once more."""


class Choice(NamedTuple):
    """What `choose` makes of what was asked for.

    Attributes:
        policy: Who chooses the mask.
        healing: What is done once it is on, see `heal`.
        search: Of the search.
    """

    policy: str
    healing: Healing
    search: SearchSettings


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that a purification depends on.

    Attributes:
        source: Folder of the suspicious encoder or classifier.
        train: Clean sentences to train on.
        validation: Clean sentences on which masks are judged.
        chosen: Who chooses the mask, and what follows; the policy is unread where `mask` is given.
        mask: File of a mask to apply as it is.
        protocol: What is done with the mask, see `heal`.
        export: Form of the weights that are written.
        onnx: Whether `model.onnx` is written too.
        fine_tune: Of every fine-tuning.
        seed: Of everything random.
        loading: How the model is loaded.
        units: What the mask chooses from.
        unlabelled: Texts like the clean ones, without labels, for a refit.
    """

    source: str | Path
    train: TextDataset
    validation: TextDataset
    chosen: Choice
    mask: Path | None = None
    protocol: Protocol = "direct"
    export: Export = "zeroed"
    onnx: bool = False
    fine_tune: FineTuneSettings = field(default_factory=FineTuneSettings)
    seed: int = 0
    loading: LoadingSettings = field(default_factory=LoadingSettings)
    units: Pruned = "heads"
    unlabelled: Unlabelled | None = None

    @cached_property
    def required(self) -> Requirements:
        """What the policy requires; nothing where a mask is given."""
        if self.mask is not None:
            return Requirements()
        return requirements_of(self.chosen.policy, self.chosen.search.variant)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Importance metrics to measure; none where no policy chooses among heads."""
        searched = self.mask is None and self.required.prunes
        return metrics_for([self.required]) if searched else ()

    def run(self, phases: tuple[Phase, ...], folder: Path) -> TrainingRun:
        """Return how fine-tunings of these phases are run, their events in a folder."""
        return TrainingRun(self.fine_tune, phases, self.seed, folder)

    def check(self) -> None:
        """Raise whatever can be known to fail before hours are spent.

        Raises:
            DataError: A class has no row in the training or in the validation data, they have
                other classes, or they hold every unlabelled text.
            UnknownNameError: No reward has this name.
            SettingsError: The settings contradict each other, this export is not possible, the
                mask does not fit the model, or the reward does not read such data.
            StateError: The mask file is missing or damaged.
            ModelError: A package that writes ONNX is missing, or the model has no ONNX form.
        """
        check_seed(self.seed)
        if self.units not in ("heads", "hybrid"):
            raise SettingsError("units is unknown", expected="heads or hybrid", actual=self.units)
        members = self.required.members
        if self.unlabelled is not None:
            _check_unlabelled(self.chosen.healing, self.train)
            self.unlabelled.without(self.train, self.validation)
        check_healing(self.protocol, self.chosen.healing, self.train)
        require_all_labels(self.train)
        require_all_labels(self.validation)
        self.validation.in_order_of(self.train.label_names)
        reward = make_reward(self.chosen.search.reward)
        if self.mask is None:
            reward.check_data(self.train, self.validation)
        more = () if self.unlabelled is None else (self.unlabelled,)
        require_one_form(self.train, self.validation, *more)
        overlap(self.train, self.validation)
        _check_export(self.export, onnx=self.onnx, members=members)
        download, revision = self.loading.allow_download, self.loading.revision
        if self.onnx:
            folder = find_source(self.source, allow_download=download, revision=revision)
            require_onnx(str(read_config(folder / "config.json").get("model_type")))
        if self.units == "hybrid":
            check_hybrid(self.protocol, self.chosen.healing, members)
        elif self.mask is not None:
            shape = head_shape(self.source, allow_download=download, revision=revision)
            load_mask(self.mask, shape)

    def trains(self, subject: Subject) -> bool:
        """Return whether anything of the model is trained or fitted, whatever the mask is."""
        new_head = subject.require_suspect().loaded.new_head
        return new_head or self.protocol != "direct" or bool(steps_of(self.chosen.healing))

    def require_a_change(self, subject: Subject, *, prunes: bool) -> None:
        """Refuse to write a ready classifier as it came: no head goes and nothing is trained.

        Args:
            subject: The model.
            prunes: Whether anything is or may be pruned.

        Raises:
            SettingsError: The plan asks for nothing at all.
        """
        if not (prunes or self.trains(subject)):
            who = f"policy {self.chosen.policy}" if self.mask is None else f"mask {self.mask}"
            raise SettingsError(
                f"Nothing would be done to {self.source}, which has a classification head of its "
                "own",
                expected="an encoder to fine-tune, or something to prune, or a healing",
                actual=f"{who}, protocol {self.protocol}, healing {self.chosen.healing}",
                remedy=f"choose --healing {best_healing(self.train)}, or another policy or mask",
            )


def choose(
    policy: str,
    healing: Healing | Literal["auto"],
    protocol: Protocol,
    train: TextDataset,
    search: SearchSettings | None = None,
    *,
    mask: str | Path | None = None,
    units: Pruned = "heads",
) -> Choice:
    """Return policy, healing and search settings, `auto` resolved.

    Whoever names a policy or gives a mask gets that alone. Before a healing that removes the
    backdoor itself, pruning heads gained nothing that could be told from noise, and cost accuracy:
    `ft` prunes none. Without it, the mask that withstands inverted triggers is the best.

    Args:
        policy: A name, the folder of an agent, or `auto`.
        healing: What follows the mask, or `auto`.
        protocol: What is done with the mask.
        train: Clean data.
        search: Of the search; a reward that was asked for stays.
        mask: File of one; no policy then searches.
        units: What the mask chooses from; of `hybrid` no healing follows.

    Raises:
        UnknownNameError: No healing has this name.
    """
    search = search or SearchSettings()
    named = mask is not None or policy != AUTO
    images = isinstance(train, ImageDataset)
    defined = protocol == "direct" and unlearnable(train) and not images  # the reward is of words
    if healing == AUTO:
        heals = protocol == "direct" and not named and units == "heads"
        healing = best_healing(train) if heals else "none"
    if named:
        return Choice(policy, healing, search)
    if removes_backdoor(healing):
        return Choice("ft", healing, search)
    if not defined:
        return Choice("gradient", healing, search)
    if search.reward == SearchSettings.reward:  # none was asked for
        search = replace(search, reward="inverted-trigger")
    return Choice("reward-greedy", healing, search)


def usual_fine_tuning(healing: Healing, train: TextDataset) -> FineTuneSettings:
    """Return how an encoder is fine-tuned where nobody says.

    Clean data is read three times; where a refit follows, of many texts less often, see `READ`.
    """
    usual = FineTuneSettings()
    if not _refits(healing):
        return usual
    return replace(usual, epochs=int(np.clip(round(READ / len(train)), 1, usual.epochs)))


def best_healing(train: TextDataset) -> Healing:
    """Return what was measured best on such data."""
    return "refit-unlearn" if unlearnable(train) else "none"


def _refits(healing: Healing) -> bool:
    """Return whether a healing refits the layers."""
    return any(isinstance(step, Refit) for step in steps_of(healing))


def _check_unlabelled(healing: Healing, train: TextDataset) -> None:
    """Raise a `SettingsError` unless unlabelled texts can be labelled and would be read."""
    if not _refits(healing) or isinstance(train, ImageDataset):
        raise SettingsError(
            "Unlabelled texts are read where a refit trains",
            expected="texts, and healing refit or refit-unlearn",
            actual=f"{'images' if isinstance(train, ImageDataset) else 'texts'}, healing {healing}",
            remedy="leave them out, or choose --healing refit-unlearn",
        )
    if len(train) < FEW_TEXTS:
        raise SettingsError(
            "Of so few clean texts a linear model learns too little to label others",
            expected=f"{FEW_TEXTS} or more to train on, with unlabelled texts",
            actual=len(train),
            remedy="leave the unlabelled texts out",
        )
    require_scikit_learn()


def _check_export(export: Export, *, onnx: bool, members: int) -> None:
    """Raise a `SettingsError` if the form is unknown, or does not go with an ensemble."""
    if export not in ("zeroed", "sliced"):
        raise SettingsError("export is unknown", expected="zeroed or sliced", actual=export)
    if members > 1 and (export != "zeroed" or onnx):
        raise SettingsError(
            "An ensemble is written as its members, with a mask each",
            expected="export zeroed, without ONNX",
            actual=f"export {export}{', with ONNX' if onnx else ''}",
            remedy="choose a policy that makes one model",
        )
