"""Third step: the mask becomes a purified model."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from prune_env.models import LoadedModel, zero_heads
from prune_env.purification.prepare import Prepared, load_suspicious
from prune_env.purification.search import Mask
from prune_env.recipe import Phase, run_phases
from prune_env.settings import FineTuneSettings

Protocol = Literal["direct", "refinetune"]


def finish(
    prepared: Prepared,
    mask: Mask,
    protocol: Protocol,
    settings: FineTuneSettings,
    *,
    seed: int = 0,
    phases: tuple[Phase, ...] = (Phase(),),
    folder: Path | None = None,
    **load: Any,
) -> LoadedModel:
    """Make the purified model from a mask.

    Args:
        prepared: What `prepare` returned; its fine-tuned model is left as it is.
        mask: Bool (L, H), True = kept.
        protocol: `direct` puts the mask on the fine-tuned model; `refinetune`, the paper's, puts
            it on the suspicious encoder, which is then fine-tuned with a new head.
        settings: Of the second fine-tuning.
        seed: As given to `prepare`.
        phases: The second fine-tuning; a policy's `recipe` names it.
        folder: Where its TensorBoard events go.
        **load: Further arguments of `load_classifier`, as given to `prepare`.

    Returns:
        A model with the pruned heads zeroed in its weights.
    """
    if protocol == "direct":
        purified = replace(prepared.finetuned, model=deepcopy(prepared.finetuned.model))
    else:
        purified = load_suspicious(prepared.source, prepared.train, seed, **load)
        run_phases(
            phases,
            purified,
            prepared.train,
            settings,
            seed=seed,
            mask=mask,
            folder=folder,
            description="Fine-tuning under the mask",
        )
    zero_heads(purified.model, mask)
    return purified
