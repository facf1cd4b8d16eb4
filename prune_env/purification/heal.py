"""Third step: the mask becomes a purified model."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from prune_env.data.dataset import TextDataset
from prune_env.errors import SettingsError, UnknownNameError
from prune_env.inversion.search import Inversion
from prune_env.models import LoadedModel, find_heads, zero_heads
from prune_env.models.ensemble import together
from prune_env.purification.prepare import Prepared, load_suspicious
from prune_env.purification.refit import Refit, refit_and_train
from prune_env.purification.search import Mask
from prune_env.purification.unlearn import (
    SHARE,
    SHARE_REFITTED,
    check_unlearnable,
    inverted_triggers,
    unlearn,
)
from prune_env.settings import FineTuneSettings, Healing, Protocol
from prune_env.training.phases import Phase, run_phases

REFITTING = frozenset({"refit", "refit-unlearn"})
"""Healings that refit the layers to clean data."""

UNLEARNING = frozenset({"unlearn", "refit-unlearn"})
"""Healings that unlearn inverted triggers."""

REMOVING = REFITTING | UNLEARNING
"""Healings that remove a backdoor themselves, whether or not a head goes."""

HEAD_HEALING = Phase(epochs=1, learning_rate_scale=10.0)
"""The new optimum of a linear head is near, and its encoder stands still: one fast pass."""

FULL_HEALING_SCALE = 0.2
"""A full second fine-tuning grows the backdoor back; healing stays well below its rate."""


def finish(
    prepared: Prepared,
    masks: Sequence[Mask],
    protocol: Protocol,
    settings: FineTuneSettings,
    *,
    healing: Healing = "none",
    seed: int = 0,
    phases: tuple[Phase, ...] = (Phase(),),
    folder: Path | None = None,
    on_refit: Callable[[Refit], None] = lambda _: None,
    on_inversion: Callable[[Inversion], None] = lambda _: None,
    **load: Any,
) -> LoadedModel:
    """Make the purified model from a mask, or from the masks of an ensemble.

    Args:
        prepared: What `prepare` returned; its fine-tuned model is left as it is.
        masks: Bool (L, H) each, True = kept; several make an ensemble.
        protocol: `direct` puts the mask on the fine-tuned model; `refinetune`, the paper's, puts
            it on the suspicious encoder, which is then fine-tuned with a new head.
        settings: Of the second fine-tuning.
        healing: What is done once the mask is on, under `direct`: nothing; one epoch of the
            classification head; one of everything at a fifth of the learning rate; `refit`, see
            `refit_and_train`; `unlearn`, see there; or `refit` and then `unlearn`.
        seed: As given to `prepare`.
        phases: The second fine-tuning; a policy's `requirements` name it.
        folder: Where its TensorBoard events go.
        on_refit: Under `refit`, called with what each refit did.
        on_inversion: Under `unlearn`, called with the triggers that are inverted, and with what
            they still flip in each purified model.
        **load: Further arguments of `load_classifier`, as given to `prepare`.

    Returns:
        A model with the pruned heads zeroed in its weights; of several masks, an `Ensemble`.

    Raises:
        SettingsError: See `check_healing`.
    """
    check_healing(protocol, healing, prepared.train)
    if len(masks) > 1 and protocol == "direct" and healing == "none":
        return together(prepared.finetuned, [prepared.finetuned.model], masks)
    inverted = None
    if healing in UNLEARNING:
        assert prepared.texts is not None
        inverted = inverted_triggers(prepared.texts, seed=seed)
        on_inversion(inverted)
    members = []
    for mask in masks:
        run: dict[str, Any] = {
            "data": prepared.train,
            "settings": settings,
            "seed": seed,
            "mask": mask,
            "folder": folder,
        }
        if protocol == "direct":
            member = replace(prepared.finetuned, model=deepcopy(prepared.finetuned.model))
            if healing in REMOVING:
                zero_heads(member.model, mask)
                run["validation"] = prepared.validation
            if healing in REFITTING:
                refit_and_train(member, on_refit=on_refit, **run)
            if inverted is not None:
                share = SHARE_REFITTED if healing in REFITTING else SHARE
                on_inversion(unlearn(member, inverted, share=share, **run))
            if healing not in REMOVING:
                _heal(member, healing, phases, **run)
        else:
            member = load_suspicious(prepared.source, prepared.train, seed, **load)
            run_phases(phases, member, description="Fine-tuning under the mask", **run)
        zero_heads(member.model, mask)
        members.append(member)
    if len(members) == 1:
        return members[0]
    return together(members[0], [member.model for member in members], masks)


def check_healing(protocol: Protocol, healing: Healing, train: TextDataset) -> None:
    """Refuse healing where everything is trained anyway, and unlearning where it has no sense.

    Raises:
        SettingsError: A name is unknown; healing with `refinetune`; or unlearning on anything but
            texts of two classes.
    """
    for what, name, known in (
        ("protocol", protocol, get_args(Protocol)),
        ("healing", healing, get_args(Healing)),
    ):
        if name not in known:
            raise UnknownNameError(what, name, known)
    if healing in UNLEARNING:
        check_unlearnable(train)
    if protocol == "refinetune" and healing != "none":
        raise SettingsError(
            "Healing belongs to the protocol `direct`",
            expected="healing none",
            actual=f"{healing} with {protocol}",
        )


def _heal(member: LoadedModel, healing: Healing, phases: tuple[Phase, ...], **run: Any) -> None:
    if healing == "none":
        return
    if healing == "head":
        phases = (HEAD_HEALING,)
    else:
        scale = FULL_HEALING_SCALE
        phases = tuple(
            replace(phase, epochs=1, learning_rate_scale=scale * phase.learning_rate_scale)
            for phase in phases
        )
    # Not `base_model`, which of CLIP is the classifier itself.
    encoder = find_heads(member.model).layers[0].name.partition(".")[0]
    for name, parameter in member.model.named_parameters():
        parameter.requires_grad_(healing == "full" or not name.startswith(f"{encoder}."))
    try:
        run_phases(phases, member, description="Healing under the mask", **run)
    finally:
        member.model.requires_grad_(True)
