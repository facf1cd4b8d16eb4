"""Writing a pruned model: zeroed, which every tool can load, or sliced, which is smaller."""

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import nn

from prune_env.errors import ModelError, UnsupportedModelError
from prune_env.files import new_folder, sha256_of, write_bytes, write_json
from prune_env.models.card import model_card
from prune_env.models.loading import LoadedModel
from prune_env.models.masks import save_mask
from prune_env.models.processor import sample_inputs, save_processor
from prune_env.models.quiet import quiet_transformers
from prune_env.models.slicing import slice_heads
from prune_env.models.source import SLICED_MANIFEST, find_problems
from prune_env.models.zeroing import zero_heads

SLICED_FORMAT = "prune-env-sliced"
SLICED_VERSION = 1


def save_zeroed(
    loaded: LoadedModel, mask: npt.ArrayLike, folder: Path, facts: Mapping[str, Any] | None = None
) -> None:
    """Save as `write_zeroed` does, into a new folder that appears whole or not at all.

    Raises:
        OutputExistsError: The folder exists and is not empty.
        SettingsError: The mask does not fit the model.
        ModelError: The model holds NaN or Inf, or is sliced already.
    """
    with new_folder(Path(folder)) as temporary:
        write_zeroed(loaded, mask, temporary, facts)


def save_sliced(
    loaded: LoadedModel, mask: npt.ArrayLike, folder: Path, facts: Mapping[str, Any] | None = None
) -> None:
    """Save as `write_sliced` does, into a new folder that appears whole or not at all.

    Raises:
        OutputExistsError: The folder exists and is not empty.
        SettingsError: The mask does not fit the model.
        ModelError: The model holds NaN or Inf, or is sliced already.
        UnsupportedModelError: The sliced model computes something else.
    """
    with new_folder(Path(folder)) as temporary:
        write_sliced(loaded, mask, temporary, facts)


def write_zeroed(
    loaded: LoadedModel, mask: npt.ArrayLike, folder: Path, facts: Mapping[str, Any] | None = None
) -> None:
    """Write the model with its pruned heads at zero, tokenizer, `mask.json` and model card.

    The folder loads with plain `AutoModelForSequenceClassification.from_pretrained`.

    Args:
        loaded: The model; it stays as it is.
        mask: Bool (L, H), True = kept.
        folder: Existing folder, which the caller makes appear at once (`files.new_folder`).
        facts: Lines of the model card, such as policy, data hash, ACC, LFR.

    Raises:
        SettingsError: The mask does not fit the model.
        ModelError: The model holds NaN or Inf, or is sliced already.
    """
    _check_whole(loaded)
    model = copy.deepcopy(loaded.model)
    zero_heads(model, mask)
    with quiet_transformers():
        model.save_pretrained(folder)
    _finish(loaded, mask, folder, "zeroed", facts)


def write_sliced(
    loaded: LoadedModel, mask: npt.ArrayLike, folder: Path, facts: Mapping[str, Any] | None = None
) -> None:
    """Write the model without its pruned heads; `prune_env.load_pruned` reads it.

    Smaller and faster, with equal outputs, which are compared on a sample before anything is
    written. Plain `from_pretrained` refuses the folder, since the shapes are no longer those of
    the architecture.

    Args:
        loaded: The model; it stays as it is.
        mask: Bool (L, H), True = kept.
        folder: Existing folder, which the caller makes appear at once (`files.new_folder`).
        facts: Lines of the model card, such as policy, data hash, ACC, LFR.

    Raises:
        SettingsError: The mask does not fit the model.
        ModelError: The model holds NaN or Inf, or is sliced already.
        UnsupportedModelError: The sliced model computes something else.
    """
    _check_whole(loaded)
    model = copy.deepcopy(loaded.model).eval()
    sample = sample_inputs(model, loaded.tokenizer)
    sample = {name: value.to(model.device) for name, value in sample.items()}
    zero_heads(model, mask)
    with torch.no_grad():
        expected = model(**sample).logits
        cuts = slice_heads(model, mask)
        actual = model(**sample).logits
    if not torch.allclose(actual, expected, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise UnsupportedModelError(
            f"The sliced {type(model).__name__} does not compute what the zeroed one does",
            expected=expected.tolist(),
            actual=actual.tolist(),
            remedy="save the model zeroed, and report this as an issue",
        )
    tied = tied_names(model)
    tensors = {n: t.contiguous() for n, t in model.state_dict().items() if n not in tied}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    manifest = {
        "format": SLICED_FORMAT,
        "version": SLICED_VERSION,
        "model_type": model.config.model_type,
        "weights_sha256": sha256_of(folder / "model.safetensors"),
        "layers": [{"heads": cut.heads, "kv_heads": cut.kv_heads} for cut in cuts],
    }
    write_json(folder / SLICED_MANIFEST, manifest)
    _finish(loaded, mask, folder, "sliced", facts)


def tied_names(model: nn.Module) -> dict[str, str]:
    """Return the weights that are another one under a second name, with that other's name.

    T5 has one embedding under three names; a file holds it once.
    """
    first: dict[int, str] = {}
    names = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        held = first.setdefault(id(tensor), name)
        if held != name:
            names[name] = held
    return names


def _check_whole(loaded: LoadedModel) -> None:
    """Refuse a model that lost heads: its files could not be read back by its config.json."""
    with quiet_transformers(), torch.device("meta"):
        whole = type(loaded.model)(loaded.model.config)
    shapes = {name: tensor.shape for name, tensor in whole.state_dict().items()}
    for name, tensor in loaded.model.state_dict().items():
        if shapes.get(name) != tensor.shape:
            raise ModelError(
                f"The model {loaded.source} is sliced already",
                expected=f"{name} of shape {tuple(shapes[name]) if name in shapes else None}",
                actual=tuple(tensor.shape),
                remedy="export the whole model, with a mask of all the heads to prune",
            )


def _finish(
    loaded: LoadedModel,
    mask: npt.ArrayLike,
    folder: Path,
    form: str,
    facts: Mapping[str, Any] | None,
) -> None:
    """Add all but the weights, read everything back, and make it durable."""
    save_processor(loaded.tokenizer, folder)
    save_mask(folder / "mask.json", mask, source=loaded.source, source_sha256=loaded.sha256)
    write_bytes(folder / "README.md", model_card(loaded, mask, form, facts or {}).encode())
    for problem in find_problems(folder):
        raise problem
    for path in folder.iterdir():
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
