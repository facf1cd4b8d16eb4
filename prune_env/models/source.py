"""The files of a model folder, judged before any of them reaches a model."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prune_env.errors import ModelError, UnsafeModelError
from prune_env.models.config_rules import find_forbidden, find_unsupported
from prune_env.models.folder import find_misplaced
from prune_env.models.header import damaged, find_damage
from prune_env.models.tokenizer_files import find_tokenizer_problems
from prune_env.utils.limits import CONFIG_BYTES, CONFIG_ENTRIES, INDEX_BYTES, TENSORS, Limit
from prune_env.utils.reading import read_json_of

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


def find_problems(folder: Path) -> Iterator[ModelError]:
    """Yield every reason not to load the model in `folder`, unsafe ones first.

    Only files are parsed; nothing is executed, and no weight reaches a model.
    """
    if not os.path.isdir(folder):  # which is false, and no error, of names that no file can have
        yield from _no_config(folder)
        return
    misplaced = list(find_misplaced(folder))
    if misplaced:  # nothing else is judged, since nothing behind a link is read
        yield from misplaced
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
    yield from _adapters(folder)
    for name in CONFIGS:
        if (folder / name).is_file():
            try:
                yield from find_forbidden(folder / name, read_config(folder / name))
            except ModelError as problem:
                yield problem
    try:
        config = read_config(folder / "config.json")
    except ModelError:
        return
    yield from find_unsupported(folder / "config.json", config)
    yield from find_tokenizer_problems(folder, config.get("vocab_size"))
    try:
        shards = weight_files(folder)
    except ModelError as problem:
        yield problem
        return
    for path in shards:
        yield from find_damage(path)


def read_config(path: Path, size: Limit = CONFIG_BYTES) -> dict[str, Any]:
    """Return the object in a small JSON file of a model folder.

    Args:
        path: The file.
        size: Limit of its bytes.

    Raises:
        ModelError: The file is missing, too large, not JSON, or not an object.
    """
    try:
        content = read_json_of(path, ModelError, size, CONFIG_ENTRIES)
    except ModelError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, "a JSON object", error) from None
    if not isinstance(content, dict):
        raise damaged(path, "a JSON object", f"a JSON {type(content).__name__}")
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
        names = read_config(index, INDEX_BYTES).get("weight_map")
        if not isinstance(names, dict) or not all(isinstance(n, str) for n in names.values()):
            raise damaged(index, "a weight_map from tensors to files", type(names).__name__)
        TENSORS.check(len(names), f"{index} names too many tensors", ModelError)
        paths = [folder / name for name in sorted(set(names.values()))]
        for path in paths:
            if path.parent != folder or path.suffix != ".safetensors":
                raise UnsafeModelError(
                    f"{index} names the file '{path.name}' outside the folder, or of another kind",
                    expected="*.safetensors beside the index",
                    remedy="do not use this model",
                )
            if not os.path.isfile(path):
                raise damaged(index, f"the file {path.name:.300}", "no such file")
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
    """Return whether a folder holds a model that `write_sliced` wrote."""
    return os.path.isfile(Path(folder) / SLICED_MANIFEST)


def is_ensemble(folder: str | Path) -> bool:
    """Return whether a folder holds an ensemble."""
    return os.path.isfile(Path(folder) / ENSEMBLE_MANIFEST)


def architecture_of(config: dict[str, Any]) -> str:
    """Return the name of the class that saved a model, or "unknown"."""
    names = config.get("architectures")
    return (
        names[0] if isinstance(names, list) and names and isinstance(names[0], str) else "unknown"
    )


def _no_config(folder: Path) -> Iterator[ModelError]:
    """Explain a folder without config.json; pickles are named first."""
    if not os.path.isdir(folder):
        kind = UnsafeModelError if folder.suffix in PICKLES else ModelError
        yield kind(
            f"{folder} is not a model folder",
            expected="a folder with config.json and model.safetensors",
            actual="a file" if os.path.exists(folder) else "no such folder",
            remedy="give the folder that `save_pretrained` wrote",
        )
        return
    yield from _adapters(folder)
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


def _adapters(folder: Path) -> Iterator[ModelError]:
    if (folder / "adapter_config.json").exists():
        yield UnsafeModelError(
            f"{folder / 'adapter_config.json'} says that this is an adapter, which would load "
            "another model underneath",
            expected="a whole model",
            remedy="merge it with the model that you trust it was trained on: with peft, "
            "PeftModel.from_pretrained(base, folder).merge_and_unload().save_pretrained(whole); "
            "then give that folder, tokenizer included",
        )
