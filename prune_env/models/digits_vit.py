"""A small vision transformer for the data set `digits`, with random weights."""

from pathlib import Path

import torch
from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

from prune_env.models.quiet import quiet_transformers
from prune_env.utils.files import cache_folder, made_once

SIDE = 8
"""Pixels of an image, either way; a patch has 2."""


def digits_vit_folder() -> Path:
    """Return the folder of an encoder of 4 layers x 4 heads, made once, the same each time.

    Raises:
        StateError: The cached files are not as they were made.
    """
    place = cache_folder() / "digits-vit" / "v1"
    made_once(place, _make)
    return place


def _make(folder: Path) -> None:
    config = ViTConfig(
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=128,
        image_size=SIDE,
        patch_size=2,
    )
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
