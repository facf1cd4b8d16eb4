"""Parsers that read hostile files, as functions of bytes: only errors of the package may leave."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import gymnasium as gym
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from transformers import BertConfig

from prune_env.data.images import FORMATS, open_image
from prune_env.data.readers import read_table
from prune_env.env.episode_settings import EpisodeSettings
from prune_env.env.landscape import LandscapeEvaluator
from prune_env.env.state import FORMAT, VERSION, State, read_states
from prune_env.env.subject import Subject
from prune_env.importance import DEFAULT_METRICS
from prune_env.models import inspect_source, load_classifier, load_mask
from prune_env.models.processor import load_processor
from prune_env.models.tokenizer_files import find_tokenizer_problems
from prune_env.models.tokenizer_trial import try_file
from prune_env.research.recording.fitting import fit_surrogate
from prune_env.research.recording.recording import Recording
from prune_env.research.recording.table import read_record
from tests.models.tiny import SIZES, write_tiny
from tests.support import tiny_tokenizer

CONFIG = {"model_type": "bert", "num_hidden_layers": 2, "num_attention_heads": 4}
STATE = State("", {}, "m", "0", "sparsity", EpisodeSettings(), (3,), ((0, 3),), 0.5, 0.1, 2, "stop")
BPE = json.dumps(
    {
        "version": "1.0",
        "added_tokens": [{"id": 0, "content": "<s>", "special": True}],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": r"\s+"},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": {"<s>": 0, "a": 1, "b": 2, "ab": 3}, "merges": ["a b"]},
    }
)
Files = tuple[tuple[str, bytes], ...]
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
    others: Files = ()

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


def _load(path: Path) -> object:
    return load_classifier(path.parent)


def _tokenizer(path: Path) -> object:
    for problem in find_tokenizer_problems(path.parent):
        raise problem
    try_file(path)
    return load_processor(path.parent, BertConfig())


def _image(path: Path) -> object:
    return open_image(str(path))


def _pictures() -> Files:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    found = []
    for kind in FORMATS:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, kind)
        found.append((kind, out.getvalue()))
    return tuple(found)


@cache
def _arrays(kind: str) -> dict[str, np.ndarray]:
    """Return what the file of a tiny record, or of its surrogate, holds."""
    evaluator = LandscapeEvaluator(2, 4)
    subject = Subject(evaluator, evaluator.importance(), DEFAULT_METRICS)
    with TemporaryDirectory() as name:
        paths = {each: Path(name) / f"{each}.npz" for each in ("record", "surrogate")}
        fit_surrogate(Recording(subject, ["sparsity"]).run(paths["record"], 45), paths["surrogate"])
        with np.load(paths[kind]) as held:
            return dict(held)


def _packed(kind: str, name: str, data: bytes) -> bytes:
    """Return such a file with other bytes in place of one array's."""
    out = io.BytesIO()
    with ZipFile(out, "w") as archive:
        for each, array in _arrays(kind).items():
            archive.writestr(f"{each}.npy", data if each == name else _npy(array))
    return out.getvalue()


def _npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array)
    return out.getvalue()


def _parts_of(kind: str, read: Callable[[Path], object]) -> dict[str, Target]:
    """Return the targets of the file itself, of its JSON head, and of each of its arrays."""
    seed = _packed(kind, "", b"")

    def read_head(path: Path) -> object:
        head = _npy(np.frombuffer(path.read_bytes(), np.uint8))
        path.write_bytes(_packed(kind, "head", head))
        return read(path)

    def read_array(path: Path) -> object:
        name, _, data = path.read_bytes().partition(b"\n")
        path.write_bytes(_packed(kind, name.decode("utf-8", "replace"), data))
        return read(path)

    heads = (_arrays(kind)["head"].tobytes(),)
    arrays = tuple(b"%s\n%s" % (n.encode(), _npy(a)) for n, a in _arrays(kind).items())
    return {
        kind: Target(f"{kind}.npz", read, (seed,)),
        f"{kind}-head": Target(f"{kind}.npz", read_head, heads),
        f"{kind}-array": Target(f"{kind}.npz", read_array, arrays),
    }


def _play(path: Path) -> object:
    """Play a recorded model, each of whose answers is a number."""
    env = gym.make("prune_env/Recorded-v0", model=str(path), reward="sparsity", tau=None)
    env.reset()
    for head in (0, 5):
        _, reward, ended, _, info = env.step(head)
        assert np.isfinite([reward, info["accuracy"]]).all()
        if ended:
            break
    return env


@cache
def _folder_of(model_type: str) -> dict[str, bytes]:
    """Return the files of a tiny model."""
    with TemporaryDirectory() as name:
        folder = write_tiny(model_type, Path(name) / "model")
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def _typed(model_type: str) -> "Target":
    """Return the target that loads a model of a type with a mutated config.json."""
    files = _folder_of(model_type)
    others = tuple((name, data) for name, data in files.items() if name != "config.json")
    return Target("config.json", _load, (files["config.json"],), others)


def make_target(name: str) -> "Target":
    """Return the target of a name: one of `TARGETS`, or `config-TYPE` for a type of model."""
    model_type = name.removeprefix("config-")
    if name not in TARGETS and model_type in SIZES:
        return _typed(model_type)
    return TARGETS[name]


TARGETS = {
    "tokenizer": Target(
        "tokenizer.json",
        _tokenizer,
        (
            tiny_tokenizer().backend_tokenizer.to_str().encode(),
            BPE.encode(),
        ),
    ),
    "image": Target("image", _image, tuple(data for _, data in _pictures())),
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
    **_parts_of("record", read_record),
    **_parts_of("surrogate", _play),
}
