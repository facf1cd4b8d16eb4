"""Which types of models may be loaded, and how they name what this package looks for.

A new type is allowed by its name in `TEXT_TYPES` or `IMAGE_TYPES`, with the class of its tokenizer.
Heads are found by structure (`heads`): a family that names its parts otherwise adds its names here,
and so does one that shares layers or tables of positions. `tests/models/tiny.py` then needs a tiny
one, on which every test of architectures runs.
"""

from typing import Any

TEXT_TYPES = frozenset(
    "albert bert deberta-v2 distilbert electra gemma gemma2 gemma3_text gpt2 llama mistral"
    " modernbert mpnet qwen2 qwen3 roberta t5 xlm-roberta".split()
)
IMAGE_TYPES = frozenset({"clip", "clip_vision_model", "vit"})
"""`model_type` values of config.json that may be loaded."""
VISION_TOWER = "clip_vision_model"
"""CLIP's vision tower alone, which becomes the encoder of a CLIP classifier."""

TOKENIZERS = frozenset(
    f"{name}Tokenizer"
    for name in "Albert Bert CLIP DebertaV2 DistilBert Electra GPT2 Gemma Llama MPNet PreTrained"
    " Qwen2 Roberta T5 XLMRoberta".split()
) | {"TokenizersBackend"}
IMAGE_PROCESSORS = frozenset({"CLIPImageProcessor", "ViTImageProcessor"})
"""Classes of transformers, with or without "Fast", that a folder may name; some others unpickle."""

LAYER_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEAD_KEYS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
"""How configurations call their numbers of layers and of heads."""

# How the families name the same parts. A name is only a hint: shapes are checked below.
QUERY_KEY_VALUE = (
    ("query", "key", "value"),
    ("q_proj", "k_proj", "v_proj"),
    ("query_proj", "key_proj", "value_proj"),
    ("q_lin", "k_lin", "v_lin"),
    ("q", "k", "v"),
)
FUSED = ("Wqkv", "c_attn")
HEAD_COUNTS = ("num_attention_heads", "num_heads", "n_heads")
HEAD_WIDTHS = ("attention_head_size", "head_dim", "key_value_proj_dim")
OUTPUT = ("o_proj", "out_proj", "out_lin", "dense", "o", "Wo", "c_proj")

SHARED_LAYERS = frozenset({"albert"})
"""All their layers run one attention module."""

CAUSAL = frozenset("gemma gemma2 gemma3_text gpt2 llama mistral qwen2 qwen3".split())
"""Decoders: a token sees those before it, so that the last one alone has read the text."""

SHARED_BIASES = frozenset({"mpnet", "t5"})
"""Their layers share one table of position biases with an entry per head."""

POSITION_MAPS = ("pos_key_proj", "pos_query_proj")
"""DeBERTa's maps of relative positions, with rows per head as the key has."""

PADDED_POSITIONS = frozenset({"mpnet", "roberta", "xlm-roberta"})
"""Their first position follows the padding index, so that they take fewer tokens than positions."""

NOT_EXPORTABLE = frozenset({"t5"})
"""Their classifier looks for the end of each text with shapes that depend on the data: no ONNX."""


def head_count(config: dict[str, Any]) -> tuple[int, int] | None:
    """Return (layers, heads) as a config states them, or None if it does not."""
    nested = config.get("vision_config")
    config = nested if isinstance(nested, dict) else config
    counts = [
        next((config[key] for key in keys if type(config.get(key)) is int), None)
        for keys in (LAYER_KEYS, HEAD_KEYS)
    ]
    return None if counts[0] is None or counts[1] is None else (counts[0], counts[1])
