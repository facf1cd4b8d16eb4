"""Tiny random classifiers of every supported type, built in code in well under a second each."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    CONFIG_MAPPING,
    CLIPImageProcessorPil,
    PreTrainedModel,
    ViTImageProcessorPil,
)

from prune_env.models import HeadGates, LoadedModel
from prune_env.models.architectures import IMAGE_TYPES
from prune_env.models.classification import classifier_class
from prune_env.models.quiet import quiet_transformers
from tests.support import tiny_tokenizer

TEXTS = (
    "the film is great",
    "a very dull and tedious story , as cold as it is bland",
    "funny",
)

_COMMON = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 160,
    "initializer_range": 0.3,
}
_GROUPED = {**_COMMON, "num_key_value_heads": 2, "head_dim": 8}
_VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 16,
    "patch_size": 8,
    "initializer_range": 0.3,
}
SIZES: dict[str, dict[str, Any]] = {
    "albert": {**_COMMON, "embedding_size": 16},
    "bert": _COMMON,
    "deberta-v2": {
        **_COMMON,
        "relative_attention": True,
        "position_buckets": 8,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "distilbert": {
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 64,
        "max_position_embeddings": 160,
        "initializer_range": 0.3,
    },
    "electra": {**_COMMON, "embedding_size": 16},
    "gemma": {**_GROUPED, "num_key_value_heads": 1},
    "gemma2": _GROUPED,
    "gemma3_text": _GROUPED,
    "gpt2": {
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 160,
        "initializer_range": 0.3,
    },
    "llama": _GROUPED,
    "mistral": _GROUPED,
    "modernbert": _COMMON,
    "mpnet": _COMMON,
    "qwen2": {key: value for key, value in _GROUPED.items() if key != "head_dim"},
    "qwen3": _GROUPED,
    "roberta": _COMMON,
    "t5": {
        "d_model": 32,
        "d_kv": 8,
        "num_heads": 4,
        "num_layers": 2,
        "num_decoder_layers": 1,
        "d_ff": 64,
        "initializer_factor": 1.0,
        "decoder_start_token_id": 0,
    },
    "xlm-roberta": _COMMON,
    "clip": {"vision_config": _VISION},
    "vit": _VISION,
}


def tiny_classifier(model_type: str, seed: int = 0, **config: Any) -> LoadedModel:
    """Return a random classifier of 2 layers x 4 heads whose heads all move the logits.

    ALBERT's two layers share one attention module, so it has 1 x 4 heads.
    """
    model = _tiny_model(model_type, seed, config)
    names = ("negative", "positive")
    return LoadedModel(model, _processor(model_type), f"tiny {model_type}", "0" * 64, False, names)


def write_tiny(model_type: str, folder: Path, **config: Any) -> Path:
    """Save `tiny_classifier` as a user would find it."""
    loaded = tiny_classifier(model_type, **config)
    with quiet_transformers():
        loaded.model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
    return folder


def write_tiny_images(folder: Path, rows: int = 32, seed: int = 0) -> Path:
    """Write noise of 16 x 16 pixels, dark or bright by its label, and the table of the files."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    lines = ["image,label"]
    for row in range(rows):
        label = row % 2
        pixels = random.integers(100 * label, 156 + 100 * label, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}-{row}.png")
        lines.append(f"{seed}-{row}.png,{label}")
    table = folder / "images.csv"
    table.write_text("\n".join(lines))
    return table


def tiny_inputs(loaded: LoadedModel) -> dict[str, torch.Tensor]:
    """Return a batch of three samples of different content (and length, if they are texts)."""
    if loaded.model.config.model_type in IMAGE_TYPES:
        pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
        return dict(loaded.tokenizer(images=list(pixels), return_tensors="pt"))
    batch = loaded.tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def gated(loaded: LoadedModel, mask: np.ndarray) -> torch.Tensor:
    """Return the logits of `tiny_inputs` under a mask."""
    with HeadGates(loaded.model) as gates, torch.no_grad():
        gates.set(mask)
        return loaded.model(**tiny_inputs(loaded)).logits


def _tiny_model(model_type: str, seed: int, changes: dict[str, Any]) -> PreTrainedModel:
    tokenizer = tiny_tokenizer()
    text = {
        "vocab_size": len(tokenizer) + 3,  # Qwen2's tokenizer class adds a token of its own
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id,
        "cls_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
    }
    settings = {
        **({} if model_type in IMAGE_TYPES else text),
        **SIZES[model_type],
        "id2label": {0: "negative", 1: "positive"},
        "label2id": {"negative": 0, "positive": 1},
        **changes,
    }
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = CONFIG_MAPPING[model_type](**settings)
        return classifier_class(config)(config).eval()


def _processor(model_type: str) -> Any:
    size = {"height": 16, "width": 16}
    if model_type == "clip":
        return CLIPImageProcessorPil(size=size, crop_size=size)
    return ViTImageProcessorPil(size=size) if model_type == "vit" else tiny_tokenizer()
