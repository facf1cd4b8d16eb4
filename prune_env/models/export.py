"""Writing a pruned model that every tool can load: full shapes, pruned heads set to zero."""

import copy
import os
from pathlib import Path

import numpy.typing as npt
import torch
from torch import nn

from prune_env.files import new_folder
from prune_env.models.heads import LayerHeads, find_heads
from prune_env.models.loading import LoadedModel
from prune_env.models.masks import Mask, save_mask, validate_mask
from prune_env.models.quiet import quiet_transformers
from prune_env.models.source import find_problems


def zero_heads(model: nn.Module, mask: npt.ArrayLike) -> None:
    """Set the weights of pruned heads to zero, in place; the outputs equal those of closed gates.

    The head's columns of the output projection become zero, and so do the value rows and biases
    that no kept head reads.

    Args:
        model: A transformers model.
        mask: Bool (L, H), True = kept.

    Raises:
        SettingsError: The mask does not fit the model.
    """
    heads = find_heads(model)
    kept = validate_mask(mask, heads.shape)
    with torch.no_grad():
        for layer in heads.layers:
            _zero_layer(layer, kept[layer.index, : layer.num_heads])


def save_zeroed(loaded: LoadedModel, mask: npt.ArrayLike, folder: Path) -> None:
    """Save the model with its pruned heads at zero, and `mask.json`; `loaded` stays as it is.

    The folder appears whole or not at all, holds model and tokenizer, and loads with plain
    `AutoModelForSequenceClassification.from_pretrained`.

    Args:
        loaded: The model.
        mask: Bool (L, H), True = kept.
        folder: New folder.

    Raises:
        OutputExistsError: The folder exists and is not empty.
        SettingsError: The mask does not fit the model.
        ModelError: The model holds NaN or Inf.
    """
    folder = Path(folder)
    model = copy.deepcopy(loaded.model)
    zero_heads(model, mask)
    with new_folder(folder) as temporary:
        with quiet_transformers():
            model.save_pretrained(temporary)
            loaded.tokenizer.save_pretrained(temporary)
        save_mask(temporary / "mask.json", mask, source=loaded.source, source_sha256=loaded.sha256)
        for problem in find_problems(temporary):
            raise problem
        for path in temporary.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _zero_layer(layer: LayerHeads, kept: Mask) -> None:
    group = layer.num_heads // layer.kv_heads
    weight = layer.output_weight()
    for head in range(layer.num_heads):
        if not kept[head]:
            weight[:, head] = 0
    for kv_head in range(layer.kv_heads):
        if not kept[kv_head * group : (kv_head + 1) * group].any():
            rows = slice(kv_head * layer.head_dim, (kv_head + 1) * layer.head_dim)
            layer.value.weight()[rows] = 0
            bias = layer.value.bias()
            if bias is not None:
                bias[rows] = 0
