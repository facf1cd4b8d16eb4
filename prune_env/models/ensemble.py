"""Several masked classifiers that answer together, and the folder that holds them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from prune_env.errors import ModelError, SettingsError
from prune_env.models import (
    HeadGates,
    LoadedModel,
    Mask,
    find_heads,
    load_classifier,
    load_mask,
    model_card,
    save_mask,
    validate_mask,
)
from prune_env.models.folder import find_misplaced
from prune_env.models.inspection import (
    ENSEMBLE_FORMAT,
    ENSEMBLE_VERSION,
    damaged_ensemble,
    identity,
    list_all_files,
    read_ensemble,
)
from prune_env.models.processor import save_processor
from prune_env.models.quiet import writing
from prune_env.models.source import ENSEMBLE_MANIFEST, find_problems, is_ensemble
from prune_env.utils.counts import count_of
from prune_env.utils.files import sha256_of, write_bytes, write_json
from prune_env.utils.paths import as_path
from prune_env.utils.public import public_name


class Ensemble(nn.Module):
    """Classifiers under a mask each, whose probabilities are averaged.

    It stands where a transformers classifier stands: it has `config` and `device`, and returns
    `logits`, which are the logarithms of the mean probabilities.

    Args:
        models: One for all members, which then differ in their masks alone, or one a member.
        masks: Bool (L, H) each, True = kept.

    Raises:
        SettingsError: No mask, or another number of models, or a mask of another shape.
    """

    def __init__(self, models: Sequence[PreTrainedModel], masks: Sequence[Mask]) -> None:
        super().__init__()
        if not masks or len(models) not in (1, len(masks)):
            raise SettingsError(
                "An ensemble has one model for all masks, or one for each",
                actual=f"{count_of(len(models), 'model')}, {count_of(len(masks), 'mask')}",
            )
        self.models = nn.ModuleList(models)
        self.masks = [validate_mask(mask, find_heads(models[0]).shape) for mask in masks]

    @property
    def config(self) -> Any:
        """The configuration of the first member."""
        return self._member(0).config

    @property
    def device(self) -> torch.device:
        """Where the members are."""
        return self._member(0).device

    def forward(self, **inputs: Any) -> SequenceClassifierOutput:
        """Return `logits` (B, C), the log of the mean of the members' probabilities."""
        votes = []
        for index, mask in enumerate(self.masks):
            model = self._member(index)
            with HeadGates(model) as gates:
                gates.set(mask)
                votes.append(model(**inputs).logits.log_softmax(-1))
        logits = torch.stack(votes).logsumexp(0) - log(len(votes))
        return SequenceClassifierOutput(logits=cast(torch.FloatTensor, logits))

    def _member(self, index: int) -> PreTrainedModel:
        return cast(PreTrainedModel, self.models[min(index, len(self.models) - 1)])


def make_ensemble(
    loaded: LoadedModel, models: Sequence[PreTrainedModel], masks: Sequence[Mask]
) -> LoadedModel:
    """Return an `Ensemble` in the place of the model of `loaded`, in eval mode."""
    ensemble = Ensemble(models, masks).eval()
    return replace(loaded, model=cast(PreTrainedModel, cast(object, ensemble)))


def write_ensemble(
    loaded: LoadedModel, folder: str | Path, facts: Mapping[str, Any] | None = None
) -> None:
    """Write an ensemble; `load_ensemble` reads it.

    The weights are in `model-0`, `model-1`, ... (one for all members, if they share them), each
    an ordinary classifier without its mask; the masks in `mask-0.json`, ...; `ensemble.json`
    names what belongs together, and `README.md` is the model card.

    Args:
        loaded: A model whose `model` is an `Ensemble`.
        folder: Existing folder, which the caller makes appear at once (`files.new_folder`).
        facts: Plain values to keep in the manifest and the card, such as policy and seed.
    """
    folder = Path(folder)
    ensemble = cast(Ensemble, cast(object, loaded.model))
    digests = []
    for index, model in enumerate(ensemble.models):
        place = folder / f"model-{index}"
        with writing(folder):
            cast(PreTrainedModel, model).save_pretrained(place)
        save_processor(loaded.tokenizer, place)
        for problem in find_problems(place):
            raise problem
        digests.append(sha256_of(place / "model.safetensors"))
    for index, mask in enumerate(ensemble.masks):
        save_mask(folder / f"mask-{index}.json", mask, source=public_name(loaded.source))
    manifest = {
        "format": ENSEMBLE_FORMAT,
        "version": ENSEMBLE_VERSION,
        "members": len(ensemble.masks),
        "weights_sha256": digests,
        "label_names": list(loaded.label_names),
        "source": public_name(loaded.source),
        "source_sha256": loaded.sha256,
        "facts": dict(facts or {}),
    }
    write_json(folder / ENSEMBLE_MANIFEST, manifest)
    first = replace(loaded, model=cast(PreTrainedModel, ensemble.models[0]))
    card = model_card(first, np.stack(ensemble.masks), "ensemble", facts or {})
    write_bytes(folder / "README.md", card.encode())


def load_ensemble(folder: str | Path) -> LoadedModel:
    """Load an ensemble that `write_ensemble` wrote, its members as strictly as any classifier.

    Returns:
        A `LoadedModel` whose `model` is an `Ensemble`, in eval mode.

    Raises:
        UnsafeModelError: Loading could run code or reach the network.
        ModelError: The folder is no ensemble, or is incomplete or damaged.
        StateError: A mask is damaged.
    """
    folder = as_path(folder, "folder")
    # That a folder is none is false, and no error, of names that no file can have.
    for problem in find_misplaced(folder) if os.path.isdir(folder) else ():
        raise problem
    if not is_ensemble(folder):
        raise ModelError(
            f"{folder} is not an ensemble",
            expected=f"the file {ENSEMBLE_MANIFEST}",
            remedy="load it with load_classifier",
        )
    manifest = read_ensemble(folder)
    models = []
    for index, digest in enumerate(manifest.weights_sha256):
        place = folder / f"model-{index}"
        models.append(load_classifier(place, head="keep", num_labels=len(manifest.label_names)))
        if sha256_of(place / "model.safetensors") != digest:
            raise damaged_ensemble(
                folder, f"weights of model-{index} with SHA-256 {digest}", "others"
            )
    shape = find_heads(models[0].model).shape
    masks = [load_mask(folder / f"mask-{index}.json", shape) for index in range(manifest.members)]
    # Of the masks too, which the manifest does not hold: other masks give other answers.
    sha256 = identity(list_all_files(folder))
    first = replace(models[0], source=str(folder), sha256=sha256)
    return make_ensemble(first, [each.model for each in models], masks)
