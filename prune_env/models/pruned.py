"""Reading back a sliced model."""

from pathlib import Path
from typing import Any

import torch

from prune_env.errors import ModelError
from prune_env.files import sha256_of
from prune_env.models.classification import classifier_class, plan_head
from prune_env.models.export import SLICED_FORMAT, SLICED_VERSION, tied_names
from prune_env.models.guard import guarded
from prune_env.models.heads import HeadMap, LayerHeads, find_heads
from prune_env.models.inspection import identity, list_files
from prune_env.models.loading import LoadedModel, build_config, load_weights
from prune_env.models.processor import fit_processor, load_processor, self_test
from prune_env.models.quiet import quiet_transformers
from prune_env.models.slicing import LayerCut, apply_cuts
from prune_env.models.source import SLICED_MANIFEST, find_problems, is_sliced, read_config

EXPORT_AGAIN = "export it again with save_sliced"


def load_pruned(folder: str | Path) -> LoadedModel:
    """Load a model that `save_sliced` wrote, as strictly as `load_classifier` loads others.

    Args:
        folder: The folder.

    Returns:
        The smaller classifier, in eval mode, float32, on the CPU.

    Raises:
        UnsafeModelError: Loading could run code or reach the network.
        ModelError: The folder is no sliced model, or is incomplete or damaged.
    """
    folder = Path(folder)
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
    with guarded(f"The weights in {folder} do not fit its manifest", remedy=EXPORT_AGAIN):
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
