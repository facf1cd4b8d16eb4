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
from prune_env.models.building import build_config, load_weights
from prune_env.models.card import model_card
from prune_env.models.classification import classifier_class, plan_head
from prune_env.models.heads import HeadMap, LayerHeads, find_heads
from prune_env.models.inspection import identity, list_files
from prune_env.models.loading import LoadedModel
from prune_env.models.masks import oracle_mark, save_mask
from prune_env.models.processor import (
    fit_processor,
    load_processor,
    sample_inputs,
    save_processor,
    self_test,
)
from prune_env.models.pruning import LayerCut, apply_cuts, plan_cuts, zero_heads
from prune_env.models.quiet import as_model_error, quiet_transformers, writing
from prune_env.models.source import SLICED_MANIFEST, find_problems, is_sliced, read_config
from prune_env.utils.files import sha256_of, write_bytes, write_json
from prune_env.utils.paths import as_path
from prune_env.utils.public import public_name

EXPORT_AGAIN = "export it again with prune_env.models.write_sliced"


def load_pruned(folder: str | Path) -> LoadedModel:
    """Load a model that `write_sliced` wrote, as strictly as `load_classifier` loads others.

    Args:
        folder: The folder.

    Returns:
        The smaller classifier, in eval mode, float32, on the CPU.

    Raises:
        UnsafeModelError: Loading could run code or reach the network.
        ModelError: The folder is no sliced model, or is incomplete or damaged.
    """
    folder = as_path(folder, "folder")
    for problem in find_problems(folder):
        raise problem
    manifest = _read_manifest(folder)
    config = build_config(folder)
    weights = load_weights(folder)
    plan_head(str(folder), classifier_class(config), config, weights, "keep")
    processor = load_processor(folder, config)
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        model = classifier_class(config)(config).float().eval()
    apply_cuts(model, _read_cuts(folder, manifest, find_heads(model)))
    with as_model_error(f"The weights in {folder} do not fit its manifest", remedy=EXPORT_AGAIN):
        weights.update({name: weights[other] for name, other in tied_names(model).items()})
        model.load_state_dict(weights, strict=True)
    fit_processor(str(folder), model, processor)
    self_test(str(folder), model, processor)
    names = tuple(str(name) for _, name in sorted((config.id2label or {}).items()))
    return LoadedModel(model, processor, str(folder), identity(list_files(folder)), False, names)


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not is_sliced(folder):
        raise ModelError(
            f"{folder} is not a sliced model",
            expected=f"the file {SLICED_MANIFEST}",
            remedy="load it with load_classifier",
        )
    manifest = read_config(folder / SLICED_MANIFEST)
    kind = manifest.get("format"), manifest.get("version")
    if kind != (SLICED_FORMAT, SLICED_VERSION):
        raise _damaged(folder, f"{SLICED_FORMAT} version {SLICED_VERSION}", kind)
    weights = folder / "model.safetensors"
    digest = sha256_of(weights) if weights.is_file() else "no such file"
    if digest != manifest.get("weights_sha256"):
        raise _damaged(folder, f"weights with SHA-256 {manifest.get('weights_sha256')}", digest)
    return manifest


def _read_cuts(folder: Path, manifest: dict[str, Any], heads: HeadMap) -> list[LayerCut]:
    layers = manifest.get("layers")
    if not isinstance(layers, list) or len(layers) != len(heads.layers):
        raise _damaged(folder, f"{len(heads.layers)} layers in {SLICED_MANIFEST}", layers)
    return [
        _read_cut(folder, entry, layer) for entry, layer in zip(layers, heads.layers, strict=True)
    ]


def _read_cut(folder: Path, entry: Any, layer: LayerHeads) -> LayerCut:
    parts = []
    for key, count in (("heads", layer.num_heads), ("kv_heads", layer.kv_heads)):
        values = entry.get(key) if isinstance(entry, dict) else None
        if (
            not isinstance(values, list)
            or not values
            or not all(type(value) is int and 0 <= value < count for value in values)
            or values != sorted(set(values))
        ):
            raise _damaged(folder, f"{key} of layer {layer.index}, ascending", entry)
        parts.append(tuple(values))
    if len(parts[0]) % len(parts[1]):
        raise _damaged(folder, f"equal groups in layer {layer.index}", entry)
    return LayerCut(*parts)


def _damaged(folder: Path, expected: str, actual: object) -> ModelError:
    return ModelError(
        f"The sliced model {folder} is damaged",
        expected=expected,
        actual=str(actual)[:300],
        remedy=EXPORT_AGAIN,
    )


SLICED_FORMAT = "prune-env-sliced"
SLICED_VERSION = 1


def write_zeroed(
    loaded: LoadedModel,
    mask: npt.ArrayLike,
    folder: str | Path,
    facts: Mapping[str, Any] | None = None,
    *,
    oracle: bool = False,
) -> None:
    """Write the model with its pruned heads at zero, tokenizer, `mask.json` and model card.

    The folder loads with plain `AutoModelForSequenceClassification.from_pretrained`.

    Args:
        loaded: The model; it stays as it is.
        mask: Bool (L, H), True = kept.
        folder: Existing folder, which the caller makes appear at once (`files.new_folder`).
        facts: Lines of the model card, such as policy, data hash, ACC, LFR.
        oracle: Whether the trigger itself chose the mask, which `mask.json` then says.

    Raises:
        SettingsError: The mask does not fit the model.
        ModelError: The model holds NaN or Inf, or is sliced already.
    """
    _check_whole(loaded)
    folder = Path(folder)
    model = copy.deepcopy(loaded.model)
    zero_heads(model, mask)
    with writing(folder):
        model.save_pretrained(folder)
    _finish(loaded, mask, folder, "zeroed", facts, oracle=oracle)


def write_sliced(
    loaded: LoadedModel,
    mask: npt.ArrayLike,
    folder: str | Path,
    facts: Mapping[str, Any] | None = None,
    *,
    oracle: bool = False,
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
        oracle: Whether the trigger itself chose the mask, which `mask.json` then says.

    Raises:
        SettingsError: The mask does not fit the model.
        ModelError: The model holds NaN or Inf, or is sliced already.
        UnsupportedModelError: The sliced model computes something else.
    """
    _check_whole(loaded)
    folder = Path(folder)
    model = copy.deepcopy(loaded.model).eval()
    sample = sample_inputs(model, loaded.tokenizer)
    sample = {name: value.to(model.device) for name, value in sample.items()}
    zero_heads(model, mask)
    cuts = plan_cuts(find_heads(model), mask)
    with torch.no_grad():
        expected = model(**sample).logits
        apply_cuts(model, cuts)
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
    model.config.architectures = [type(model).__name__]
    with writing(folder):
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        model.config.save_pretrained(folder)
    manifest = {
        "format": SLICED_FORMAT,
        "version": SLICED_VERSION,
        "model_type": model.config.model_type,
        "weights_sha256": sha256_of(folder / "model.safetensors"),
        "layers": [{"heads": cut.heads, "kv_heads": cut.kv_heads} for cut in cuts],
    }
    write_json(folder / SLICED_MANIFEST, manifest)
    _finish(loaded, mask, folder, "sliced", facts, oracle=oracle)


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
    *,
    oracle: bool,
) -> None:
    """Add all but the weights, read everything back, and make it durable."""
    save_processor(loaded.tokenizer, folder)
    origin = {"source": public_name(loaded.source), "source_sha256": loaded.sha256}
    save_mask(folder / "mask.json", mask, **origin, **oracle_mark(oracle))
    write_bytes(folder / "README.md", model_card(loaded, mask, form, facts or {}).encode())
    for problem in find_problems(folder):
        raise problem
    for path in folder.iterdir():
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
