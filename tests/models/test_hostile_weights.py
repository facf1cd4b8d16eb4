"""Damaged weights: a clean error, never a crash, never half a model."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from prune_env.errors import (
    ModelError,
    UnsafeModelError,
)
from prune_env.models import inspect_source, load_classifier
from prune_env.models.source import find_problems
from tests.models.hostile import Canary, Edit, edit_weights
from tests.models.tiny import tiny_inputs


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_that_git_left_is_named(folder: Path, name: str) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    (folder / name).write_text(pointer)
    with pytest.raises(ModelError, match=rf"{name} is not the file itself.*git lfs pull"):
        load_classifier(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_inf_are_named(folder: Path, value: float) -> None:
    name = "bert.encoder.layer.1.attention.self.key.weight"
    edit_weights(folder, lambda weights: weights[name].view(-1)[7].fill_(value))
    with pytest.raises(ModelError, match=name):
        load_classifier(folder)
    assert any(name in problem for problem in inspect_source(folder).problems)


def test_numbers_that_overflow_float32_are_named(folder: Path) -> None:
    def widen(weights: dict[str, torch.Tensor]) -> None:
        weights["classifier.bias"] = torch.full((2,), 1e300, dtype=torch.float64)

    edit_weights(folder, widen)
    with pytest.raises(ModelError, match=r"classifier\.bias"):
        load_classifier(folder)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda w: w.pop("bert.pooler.dense.weight"), r"missing: bert\.pooler\.dense\.weight"),
        (lambda w: w.update(extra=torch.ones(2)), "unexpected: extra"),
        (
            lambda w: w.update({"bert.pooler.dense.bias": torch.ones(3)}),
            r"bert\.pooler\.dense\.bias",
        ),
        (lambda w: w.update({"classifier.bias": torch.ones(2, dtype=torch.int32)}), "int32"),
        (lambda w: w.pop("classifier.bias"), r"classifier\.bias"),
        (lambda w: w.clear(), "describes another model"),
    ],
    ids=["missing", "unexpected", "shape", "integer", "half-a-head", "empty"],
)
def test_weights_that_do_not_fit_are_named(folder: Path, edit: Edit, expected: str) -> None:
    edit_weights(folder, edit)
    with pytest.raises(ModelError, match=expected):
        load_classifier(folder)


def test_old_position_ids_are_harmless(folder: Path) -> None:
    old = {"bert.embeddings.position_ids": torch.arange(128)[None]}
    before = load_classifier(folder).model.state_dict()
    edit_weights(folder, lambda weights: weights.update(old))
    after = load_classifier(folder).model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@pytest.mark.parametrize(
    ("weight_map", "error"),
    [
        ({"a": "../model/model.safetensors"}, UnsafeModelError),
        ({"a": "/etc/passwd"}, UnsafeModelError),
        ({"a": "sub/model.safetensors"}, UnsafeModelError),
        ({"a": "weights.bin"}, UnsafeModelError),
        ({"a": "gone.safetensors"}, ModelError),
        ({"a": 3}, ModelError),
        ([], ModelError),
        (None, ModelError),
    ],
    ids=str,
)
def test_an_index_of_shards_is_not_trusted(
    folder: Path, weight_map: object, error: type[ModelError]
) -> None:
    (folder / "model.safetensors").rename(folder / "shard.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(error):
        load_classifier(folder)


def test_shards_load_and_may_not_repeat_a_weight(folder: Path, tiny_model: Any) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"a.safetensors": names[:9], "b.safetensors": names[9:]}
    for file, part in parts.items():
        save_file({name: weights[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    batch = tiny_inputs(tiny_model)
    with torch.no_grad():
        expected = tiny_model.model(**batch).logits
        assert torch.equal(load_classifier(folder).model(**batch).logits, expected)
    save_file({name: weights[name] for name in names[8:]}, folder / "b.safetensors")
    with pytest.raises(ModelError, match="another file holds too"):
        load_classifier(folder)


def header_of(raw: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def joined(header: dict[str, Any] | bytes, data: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def _overlapping(raw: bytes) -> bytes:
    header, data = header_of(raw)
    first, second = [name for name in header if name != "__metadata__"][:2]
    header[second] = dict(header[first])
    return joined(header, data)


def _hole(raw: bytes) -> bytes:
    header, data = header_of(raw)
    header.pop(next(name for name in header if name != "__metadata__"))
    return joined(header, data)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"",
        lambda raw: raw[:7],
        lambda raw: joined(*header_of(raw), length=2**63 - 1),
        lambda raw: joined(*header_of(raw), length=len(raw)),
        lambda raw: joined(*header_of(raw), length=0),
        lambda raw: joined(b"{" * 10_000, b""),
        lambda raw: joined(b" " * 10_000, b""),
        lambda raw: joined(b"\xff\xfe", header_of(raw)[1]),
        lambda raw: raw + b"\0",
        _overlapping,
        _hole,
        lambda raw: joined({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}, raw),
        lambda raw: joined({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, raw),
        lambda raw: joined({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, raw),
        lambda raw: joined({"a": {"dtype": "PY", "shape": [1], "data_offsets": [0, 4]}}, raw[:4]),
        lambda raw: pickle.dumps(Canary(Path("canary"))),
    ],
    ids="nothing cut endless longer empty deep blank encoding trailing overlap hole huge negative"
    " backwards dtype pickle".split(),
)
def test_a_spoilt_safetensors_file(folder: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        load_classifier(folder)


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_truncated_weights_are_an_error(
    fuzzed: tuple[Path, bytes, torch.Tensor], data: st.DataObject
) -> None:
    folder, raw, _ = fuzzed
    length = data.draw(st.integers(0, len(raw) - 1))
    (folder / "model.safetensors").write_bytes(raw[:length])
    assert [str(problem) for problem in find_problems(folder)]
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        load_classifier(folder)


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_flipped_header_bits_are_an_error_or_harmless(
    fuzzed: tuple[Path, bytes, torch.Tensor], data: st.DataObject
) -> None:
    folder, raw, logits = fuzzed
    size = 8 + int.from_bytes(raw[:8], "little")
    spoilt = bytearray(raw)
    for bit in data.draw(st.lists(st.integers(0, 8 * size - 1), min_size=1, max_size=3)):
        spoilt[bit // 8] ^= 1 << (bit % 8)
    (folder / "model.safetensors").write_bytes(spoilt)
    try:
        loaded = load_classifier(folder)
    except ModelError:
        return
    with torch.no_grad():  # a changed blank or comment of the header; never a half model
        assert torch.equal(loaded.model(**tiny_inputs(loaded)).logits, logits)
