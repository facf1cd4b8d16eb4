"""Parsers that read hostile files, as functions of bytes: only errors of the package may leave."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save

from prune_env.data.readers import read_table
from prune_env.env.episode import EpisodeSettings
from prune_env.env.state import FORMAT, VERSION, State, read_states
from prune_env.models import inspect_source, load_mask

CONFIG = {"model_type": "bert", "num_hidden_layers": 2, "num_attention_heads": 4}
STATE = State("", {}, "m", "0", "sparsity", EpisodeSettings(), (3,), ((0, 3),), 0.5, 0.1, 2, "stop")
TENSORS = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}


@dataclass(frozen=True)
class Target:
    """One parser.

    Attributes:
        name: Name of the file that the bytes become.
        read: Takes the path; may raise `PruneEnvError` and nothing else.
        seeds: Good files.
        others: Files that stand beside it.
    """

    name: str
    read: Callable[[Path], object]
    seeds: tuple[bytes, ...]
    others: tuple[tuple[str, bytes], ...] = ()

    def run(self, folder: Path, data: bytes) -> None:
        """Write the bytes into a folder and read them."""
        for name, content in self.others:
            (folder / name).write_bytes(content)
        path = folder / self.name
        path.write_bytes(data)
        self.read(path)


def _inspect(path: Path) -> object:
    return inspect_source(path.parent)


def _mask(path: Path) -> object:
    return load_mask(path, (2, 4))


def _states() -> bytes:
    return json.dumps({"format": FORMAT, "version": VERSION, "states": [STATE.to_dict()]}).encode()


TARGETS = {
    "config": Target(
        "config.json",
        _inspect,
        (json.dumps({**CONFIG, "auto_map": {"a": [1]}}).encode(), b'{"model_type": ["bert"]}'),
        (("model.safetensors", save(TENSORS)),),
    ),
    "tokenizer-config": Target(
        "tokenizer_config.json",
        _inspect,
        (b'{"tokenizer_class": "BertTokenizer", "model_max_length": 512}',),
        (("config.json", json.dumps(CONFIG).encode()), ("model.safetensors", save(TENSORS))),
    ),
    "safetensors": Target(
        "model.safetensors",
        _inspect,
        (save(TENSORS), save({"x": torch.zeros(0)})),
        (("config.json", json.dumps(CONFIG).encode()),),
    ),
    "index": Target(
        "model.safetensors.index.json",
        _inspect,
        (b'{"weight_map": {"a.weight": "model-1.safetensors", "b": "../x.safetensors"}}',),
        (("config.json", json.dumps(CONFIG).encode()), ("model-1.safetensors", save(TENSORS))),
    ),
    "ensemble": Target(
        "ensemble.json",
        _inspect,
        (
            b'{"format": "prune-env-ensemble", "version": 1, "members": 2,'
            b' "weights_sha256": ["a"], "label_names": ["negative", "positive"]}',
        ),
    ),
    "mask": Target(
        "mask.json",
        _mask,
        (
            b'{"0": [1, 3], "1": []}',
            b'{"format": "prune-env-mask", "version": 1, "layers": 2, "heads": 4,'
            b' "pruned": {"0": [1]}, "meta": {}}',
        ),
    ),
    "tsv": Target("data.tsv", read_table, (b'sentence\tlabel\na "film\t1\n\xc3\xa9\t0\n',)),
    "csv": Target("data.csv", read_table, (b'sentence,label\n"a ""film"", new",1\nb,0\n',)),
    "jsonl": Target("data.jsonl", read_table, (b'{"sentence": "a", "label": 1}\n',)),
    "states": Target("states.json", read_states, (_states(),)),
}
