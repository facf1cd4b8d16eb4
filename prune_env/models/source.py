"""The files of a model folder, judged before any of them reaches a model."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from prune_env.errors import ModelError, UnsafeModelError, UnsupportedModelError
from prune_env.models.links import find_links

TEXT_TYPES = frozenset(
    "albert bert deberta-v2 distilbert electra gemma gemma2 gemma3_text gpt2 llama mistral"
    " modernbert mpnet qwen2 qwen3 roberta t5 xlm-roberta".split()
)
IMAGE_TYPES = frozenset({"clip", "clip_vision_model", "vit"})
"""`model_type` values of config.json that may be loaded."""

FORBIDDEN_KEYS = ("auto_map", "trust_remote_code", "quantization_config", "transformers_weights")
FORBIDDEN_PREFIXES = ("_attn_implementation", "attn_implementation", "_experts_implementation")
"""Keys of any JSON file that name code, kernels or other files to load (CVE-2026-4372 and
CVE-2026-5241 get round `trust_remote_code=False` by such keys)."""

TOKENIZERS = frozenset(
    f"{name}Tokenizer"
    for name in "Albert Bert CLIP DebertaV2 DistilBert Electra GPT2 Gemma Llama MPNet PreTrained"
    " Qwen2 Roberta T5 XLMRoberta".split()
) | {"TokenizersBackend"}
IMAGE_PROCESSORS = frozenset({"CLIPImageProcessor", "ViTImageProcessor"})
"""Classes of transformers, with or without "Fast", that a folder may name; some others unpickle."""
PROCESSORS = {
    "tokenizer_class": TOKENIZERS,
    "image_processor_type": IMAGE_PROCESSORS,
    "feature_extractor_type": IMAGE_PROCESSORS,
}
"""Keys that name such a class; transformers reads them in several files, config.json included."""

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".h5")
CONFIGS = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
)
SLICED_MANIFEST = "sliced.json"
"""What says that heads were cut out of the weights beside it."""
ENSEMBLE_MANIFEST = "ensemble.json"
"""What says that a folder holds several masked models, which vote."""
MAX_JSON_BYTES = 16 * 2**20
MAX_COUNT = 1000
COUNTED = re.compile(r"layers?$|heads?$|groups?(_num)?$|^num_labels$")
"""Sizes that cost time or memory before any weight is compared with them."""
SIDES = ("size", "crop_size", "height", "width", "shortest_edge", "longest_edge")
MAX_SIDE = 4096
"""Sizes in pixels to which an image would be scaled before any model refuses it."""
LAYER_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEAD_KEYS = ("num_attention_heads", "n_head", "n_heads", "num_heads")


def find_problems(folder: Path) -> Iterator[ModelError]:
    """Yield every reason not to load the model in `folder`, unsafe ones first.

    Only files are parsed; nothing is executed, and no weight reaches a model.
    """
    links = list(find_links(folder))
    if links:  # nothing else is judged, since nothing behind them is read
        yield from links
        return
    if is_ensemble(folder):
        yield ModelError(
            f"{folder} holds an ensemble, which is the result of a purification",
            expected="an encoder or a classifier",
            actual=f"a folder with {ENSEMBLE_MANIFEST}",
            remedy="load it with prune_env.load_ensemble; to purify, take one member, "
            f"{folder / 'model-0'}, or the model that it was made from",
        )
        return
    if not (folder / "config.json").is_file():
        yield from _no_config(folder)
        return
    yield from _unsafe_files(folder)
    for name in CONFIGS:
        if (folder / name).is_file():
            try:
                content = read_config(folder / name)
                yield from _unsafe_keys(folder / name, content)
                yield from _foreign_processor(folder / name, content)
            except ModelError as problem:
                yield problem
    try:
        config = read_config(folder / "config.json")
    except ModelError:
        return
    yield from _unsupported(folder, config)
    try:
        shards = weight_files(folder)
    except ModelError as problem:
        yield problem
        return
    for path in shards:
        yield from _damaged_weights(path)


def read_config(path: Path) -> dict[str, Any]:
    """Return the object in a small JSON file of a model folder.

    Raises:
        ModelError: The file is missing, too large, not JSON, or not an object.
    """
    try:
        size = path.stat().st_size
        content = json.loads(path.read_text("utf-8")) if size <= MAX_JSON_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, "a JSON object", error) from None
    if not isinstance(content, dict):
        raise _damaged(path, "a JSON object", f"{size} bytes of something else")
    return content


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a model: one, or those that its index names.

    Raises:
        UnsafeModelError: There are only pickles, or the index names a file outside the folder.
        ModelError: There are none, or a named one is missing.
    """
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = read_config(index).get("weight_map")
        if not isinstance(names, dict) or not all(isinstance(n, str) for n in names.values()):
            raise _damaged(index, "a weight_map from tensors to files", type(names).__name__)
        paths = [folder / name for name in sorted(set(names.values()))]
        for path in paths:
            if path.parent != folder or path.suffix != ".safetensors":
                raise UnsafeModelError(
                    f"{index} names the file '{path.name}' outside the folder, or of another kind",
                    expected="*.safetensors beside the index",
                    remedy="do not use this model",
                )
            if not path.is_file():
                raise _damaged(index, f"the file {path.name}", "no such file")
        return paths
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise UnsafeModelError(
            f"The weights in {folder} are pickles, which can run code: {', '.join(pickles)}",
            expected="model.safetensors",
            remedy="get the safetensors form, or convert it on a machine that you can lose",
        )
    raise ModelError(
        f"{folder} holds no weights",
        expected="model.safetensors",
        remedy="get the whole model from its publisher",
    )


def is_sliced(folder: str | Path) -> bool:
    """Return whether a folder holds a model that `save_sliced` wrote."""
    return (Path(folder) / SLICED_MANIFEST).is_file()


def is_ensemble(folder: str | Path) -> bool:
    """Return whether a folder holds an ensemble."""
    return (Path(folder) / ENSEMBLE_MANIFEST).is_file()


def head_count(config: dict[str, Any]) -> tuple[int, int] | None:
    """Return (layers, heads) as a config states them, or None if it does not."""
    nested = config.get("vision_config")
    config = nested if isinstance(nested, dict) else config
    counts = [
        next((config[key] for key in keys if type(config.get(key)) is int), None)
        for keys in (LAYER_KEYS, HEAD_KEYS)
    ]
    return None if counts[0] is None or counts[1] is None else (counts[0], counts[1])


def architecture_of(config: dict[str, Any]) -> str:
    """Return the name of the class that saved a model, or "unknown"."""
    names = config.get("architectures")
    return (
        names[0] if isinstance(names, list) and names and isinstance(names[0], str) else "unknown"
    )


def _no_config(folder: Path) -> Iterator[ModelError]:
    """Explain a folder without config.json; pickles are named first."""
    if not folder.is_dir():
        kind = UnsafeModelError if folder.suffix in PICKLES else ModelError
        yield kind(
            f"{folder} is not a model folder",
            expected="a folder with config.json and model.safetensors",
            actual="a file" if folder.exists() else "no such folder",
            remedy="give the folder that `save_pretrained` wrote",
        )
        return
    try:
        weight_files(folder)
    except ModelError as problem:
        yield problem
    yield ModelError(
        f"{folder} holds no config.json",
        expected="a folder that `save_pretrained` wrote",
        actual=", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "an empty folder",
        remedy="check the path",
    )


def _unsafe_files(folder: Path) -> Iterator[ModelError]:
    if (folder / "adapter_config.json").exists():
        yield UnsafeModelError(
            f"{folder / 'adapter_config.json'} would load another model underneath this one",
            expected="a whole model",
            remedy="merge the adapter and save the model",
        )


def _unsafe_keys(path: Path, config: dict[str, Any]) -> Iterator[ModelError]:
    for name, key, item in _entries(config):
        if key in FORBIDDEN_KEYS or key.startswith(FORBIDDEN_PREFIXES):
            yield UnsafeModelError(
                f"{path} sets '{name}', which can load code or other files",
                expected=f"no key '{key}'",
                actual=f"{item!r:.80}",
                remedy="do not use this model, or delete the key if you know why it is there",
            )


def _foreign_processor(path: Path, config: dict[str, Any]) -> Iterator[ModelError]:
    """Find a processor class from elsewhere in transformers, and images beyond all memory."""
    for name, key, item in _entries(config):
        known = PROCESSORS.get(key)
        if known is not None and item is not None:
            plain = str(item).removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")
            if plain not in known:
                yield UnsafeModelError(
                    f"{path} names the class '{item!s:.60}' as {name}",
                    expected=f"one of {', '.join(sorted(known))}",
                    remedy="save it again with a class of this list",
                )
        if key in SIDES and type(item) is int and item > MAX_SIDE:
            yield ModelError(
                f"{path} sets {name} to {item:.3e} pixels",
                expected=f"up to {MAX_SIDE}",
                remedy="get the model again from its publisher",
            )


def _unsupported(folder: Path, config: dict[str, Any]) -> Iterator[ModelError]:
    path = folder / "config.json"
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in TEXT_TYPES | IMAGE_TYPES:
        yield UnsupportedModelError(
            f"{path} has the model type '{model_type}'",
            expected=f"one of {', '.join(sorted(TEXT_TYPES | IMAGE_TYPES))}",
            remedy="use a model of a supported type",
        )
    if architecture_of(config) == "T5EncoderModel":
        yield UnsupportedModelError(
            f"{path} describes a T5 encoder alone, for which transformers has no classifier",
            expected="T5 with its decoder, such as T5ForConditionalGeneration",
            remedy="use the whole model: heads of its encoder are pruned",
        )
    for name, key, item in _entries(config):
        if COUNTED.search(key) and type(item) is int and not 0 <= item <= MAX_COUNT:
            yield ModelError(
                f"{path} sets {name} to {item:.3e}",
                expected=f"0 to {MAX_COUNT}",
                remedy="get the model again from its publisher",
            )


def _entries(config: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield (dotted name, key, value) of every entry at any depth, without recursion."""
    stack: list[tuple[str, Any]] = [("", config)]
    while stack:
        inside, value = stack.pop()
        if isinstance(value, dict):
            for key, item in value.items():
                yield f"{inside}{key}", key, item
                stack.append((f"{inside}{key}.", item))
        elif isinstance(value, list):
            stack.extend((inside, item) for item in value)


def _damaged_weights(path: Path) -> Iterator[ModelError]:
    """Check a safetensors file: header, offsets, length; then NaN and Inf, tensor by tensor."""
    broken = []
    try:
        # The library checks sizes, gaps, overlaps and the file's length before it gives a tensor.
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                tensor = file.get_tensor(name)
                if not bool(torch.isfinite(tensor.float()).all()):
                    broken.append(name)
    except (SafetensorError, OSError, ValueError, OverflowError, RuntimeError) as error:
        yield _damaged(path, "a whole safetensors file", error)
    if broken:
        yield ModelError(
            f"{path} holds NaN or Inf in {len(broken)} tensors: {', '.join(broken[:5])}",
            expected="finite weights",
            remedy="get the model again from its publisher, or train it again",
        )


def _damaged(path: Path, expected: str, actual: object) -> ModelError:
    return ModelError(
        f"{path} is damaged",
        expected=expected,
        actual=str(actual)[:200],
        remedy="get the model again from its publisher",
    )
