"""Hostile and broken model folders: a typed error that names the culprit, and nothing else."""

import json
import pickle
import shutil
import socket
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
    UnknownNameError,
    UnsafeModelError,
    UnsupportedModelError,
)
from prune_env.models import inspect_source, load_classifier, load_pruned
from prune_env.models.source import find_problems
from tests.models.tiny import tiny_inputs, write_tiny
from tests.support import tiny_tokenizer, write_tiny_folder

Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A good model that a test may spoil."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def edit_json(path: Path, edit: Edit) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def edit_weights(folder: Path, edit: Edit) -> None:
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


class Canary:
    """Unpickling one of these writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "dead"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "model.npz"])
def test_a_pickle_is_refused_and_never_opened(folder: Path, tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(UnsafeModelError, match=name):
        load_classifier(folder)
    assert any(name in problem for problem in inspect_source(folder).problems)
    assert not canary.exists()


def test_a_pickle_beside_good_weights_is_noted_and_never_opened(
    folder: Path, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(canary)))
    (folder / "modeling.py").write_text(f"open({str(canary)!r}, 'w')")
    load_classifier(folder)
    report = inspect_source(folder)
    assert report.problems == ()
    assert [note.split()[0] for note in report.notes] == ["modeling.py", "pytorch_model.bin"]
    assert not canary.exists()


def test_a_pickle_file_instead_of_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    with pytest.raises(UnsafeModelError, match=r"model\.bin"):
        load_classifier(path)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "key",
    [
        "auto_map",
        "trust_remote_code",
        "quantization_config",
        "transformers_weights",
        "_attn_implementation",
        "_attn_implementation_internal",
        "attn_implementation",
        "_experts_implementation_internal",
    ],
)
@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_keys_that_load_code_are_refused_by_name(folder: Path, key: str, file: str) -> None:
    edit_json(folder / file, lambda content: content.update({key: "evil/repo--code.Model"}))
    with pytest.raises(UnsafeModelError, match=f"'{key}'") as caught:
        load_classifier(folder)
    assert file in str(caught.value)


def test_keys_that_load_code_are_found_inside_other_keys(folder: Path) -> None:
    nested = {"vision_config": {"layers": [{"auto_map": "x"}]}}
    edit_json(folder / "config.json", lambda content: content.update(nested))
    with pytest.raises(UnsafeModelError, match=r"vision_config\.layers\.auto_map"):
        load_classifier(folder)


def test_deep_nesting_ends_in_an_error(folder: Path) -> None:
    deep = '{"a": ' * 700 + "1" + "}" * 700
    text = (folder / "config.json").read_text().rstrip().removesuffix("}")
    (folder / "config.json").write_text(f'{text}, "deep": {deep}, "auto_map": {{}}}}')
    with pytest.raises(UnsafeModelError, match="auto_map"):
        load_classifier(folder)


def test_an_adapter_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/base"}')
    with pytest.raises(UnsafeModelError, match="adapter"):
        load_classifier(folder)


def test_a_foreign_tokenizer_class_is_refused(folder: Path) -> None:
    change = {"tokenizer_class": "RagTokenizer"}
    edit_json(folder / "tokenizer_config.json", lambda content: content.update(change))
    with pytest.raises(UnsafeModelError, match="RagTokenizer"):
        load_classifier(folder)


@pytest.mark.parametrize("model_type", ["bloom", "falcon", "", None, 3, ["bert"]])
def test_a_type_off_the_list_is_refused(folder: Path, model_type: object) -> None:
    edit_json(folder / "config.json", lambda content: content.update(model_type=model_type))
    with pytest.raises(UnsupportedModelError, match="model type"):
        load_classifier(folder)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"model_type": "bert"', "\x00", "[" * 100_000, "{" + " " * 2**24],
    ids=["empty", "open", "list", "null", "cut", "nul", "deep", "huge"],
)
def test_a_config_that_is_no_object(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json is damaged"):
        load_classifier(folder)


def test_a_config_in_another_encoding(folder: Path) -> None:
    (folder / "config.json").write_bytes('{"model_type": "bert"}'.encode("utf-16"))
    with pytest.raises(ModelError, match=r"config\.json is damaged"):
        load_classifier(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": -1},
        {"num_attention_heads": 10**6},
        {"num_labels": 10**10, "id2label": None},
        {"hidden_size": 10**9},
        {"vocab_size": 10**12},
        {"intermediate_size": 10**7},
        {"num_hidden_layers": 3},
        {"num_attention_heads": 0},
        {"num_attention_heads": 5},
        {"hidden_size": "many"},
        {"hidden_act": "__import__('os')"},
        {"max_position_embeddings": 1},
        {"is_decoder": True, "add_cross_attention": True},
    ],
    ids=str,
)
def test_impossible_sizes_end_in_an_error(folder: Path, change: dict[str, Any]) -> None:
    edit_json(folder / "config.json", lambda content: content.update(change))
    with pytest.raises(ModelError):
        load_classifier(folder)


@pytest.mark.parametrize("value", [None, [], 3, [3], {"0": "x"}, "BertModel"], ids=str)
def test_an_unreadable_architecture_counts_as_unknown(folder: Path, value: object) -> None:
    edit_json(folder / "config.json", lambda content: content.update(architectures=value))
    assert not load_classifier(folder).new_head
    assert inspect_source(folder).architecture == "unknown"


def test_settings_that_change_the_output_format_do_no_harm(folder: Path, tiny_model: Any) -> None:
    change = {"return_dict": False, "output_attentions": True, "output_hidden_states": True}
    edit_json(folder / "config.json", lambda content: content.update(change))
    loaded = load_classifier(folder)
    batch = tiny_inputs(loaded)
    with torch.no_grad():
        assert torch.equal(loaded.model(**batch).logits, tiny_model.model(**batch).logits)


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
    edit_weights(folder, lambda weights: weights.update(old))
    load_classifier(folder)


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


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, torch.Tensor]:
    """A very small model, its weights as bytes, and its logits."""
    path = write_tiny_folder(tmp_path_factory.mktemp("fuzz") / "m", layers=1, heads=1, hidden=8)
    loaded = load_classifier(path)
    with torch.no_grad():
        logits = loaded.model(**tiny_inputs(loaded)).logits
    return path, (path / "model.safetensors").read_bytes(), logits


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


@given(text=st.binary(max_size=200))
@settings(deadline=None, max_examples=60)
def test_any_bytes_as_config_are_an_error(
    fuzzed: tuple[Path, bytes, torch.Tensor], text: bytes
) -> None:
    folder, _, _ = fuzzed
    good = (folder / "config.json").read_bytes()
    try:
        (folder / "config.json").write_bytes(text)
        with pytest.raises(ModelError):
            load_classifier(folder)
    finally:
        (folder / "config.json").write_bytes(good)


JSON_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.none())
)


@given(data=st.data())
@settings(deadline=None, max_examples=80)
def test_any_value_in_a_config_is_an_error_or_a_model(
    fuzzed: tuple[Path, bytes, torch.Tensor], data: st.DataObject
) -> None:
    folder, raw, _ = fuzzed
    (folder / "model.safetensors").write_bytes(raw)
    path = folder / "config.json"
    good = path.read_text()
    content = json.loads(good)
    key = data.draw(st.sampled_from(sorted(content)))
    content[key] = data.draw(JSON_VALUES)
    try:
        path.write_text(json.dumps(content))
        loaded = load_classifier(folder)
        with torch.no_grad():
            assert loaded.model(**tiny_inputs(loaded)).logits.shape == (3, 2)
    except ModelError:
        pass
    finally:
        path.write_text(good)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"model": 3}', "\x00\xff"])
def test_a_spoilt_tokenizer(folder: Path, text: str) -> None:
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(ModelError, match="tokenizer"):
        load_classifier(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [("model_max_length", "long"), ("model_max_length", 0), ("tokenizer_class", {"a": 1})],
)
def test_a_spoilt_tokenizer_config(folder: Path, key: str, value: object) -> None:
    edit_json(folder / "tokenizer_config.json", lambda content: content.update({key: value}))
    with pytest.raises(ModelError, match="tokenizer"):
        load_classifier(folder)


def test_a_panic_of_the_tokenizer_is_an_error(tmp_path: Path) -> None:
    """Rust's panics are no Exception; one must not end the program with a trace."""

    def edit(content: dict[str, Any]) -> None:
        content["post_processor"]["single"][2]["SpecialToken"]["id"] = "gone"

    folder = write_tiny("gpt2", tmp_path / "gpt2")
    edit_json(folder / "tokenizer.json", edit)
    with pytest.raises(ModelError, match="PanicException"):
        load_classifier(folder)


def test_no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="holds no tokenizer"):
        load_classifier(folder)


def test_a_tokenizer_with_more_tokens_than_the_model(folder: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["zebra"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match="not the model's"):
        load_classifier(folder)


def test_another_padding_token_than_the_models(folder: Path) -> None:
    edit_json(folder / "config.json", lambda content: content.update(pad_token_id=3))
    with pytest.raises(ModelError, match="pads a batch"):
        load_classifier(folder)


def test_a_decoder_without_padding_token_pads_with_its_end(tmp_path: Path) -> None:
    folder = write_tiny("gpt2", tmp_path / "gpt2", pad_token_id=None)
    spoil_padding(folder, eos=None)
    with pytest.raises(ModelError, match="pads a batch"):
        load_classifier(folder)
    spoil_padding(folder, eos="[SEP]")
    loaded = load_classifier(folder)
    assert loaded.tokenizer.pad_token == "[SEP]"
    assert loaded.model.config.pad_token_id == loaded.tokenizer.pad_token_id
    with torch.no_grad():
        assert loaded.model(**tiny_inputs(loaded)).logits.shape == (3, 2)


def spoil_padding(folder: Path, eos: str | None) -> None:
    def edit(content: dict[str, Any]) -> None:
        content.pop("pad_token", None)
        content["eos_token"] = eos

    edit_json(folder / "tokenizer_config.json", edit)


@pytest.mark.parametrize("name", ["no_such_model", "miniml"])
def test_an_unknown_name_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownNameError, match="minilm"):
        load_classifier(name)


def test_a_hub_id_needs_permission() -> None:
    with pytest.raises(ModelError, match="allow-download"):
        load_classifier("someone/some-model")


def test_a_missing_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load_classifier(tmp_path / "gone")
    with pytest.raises(ModelError, match="no weights"):
        load_classifier(tmp_path)
    with pytest.raises(ModelError, match="no such folder"):
        inspect_source(tmp_path / "gone")


def test_a_sliced_folder_needs_its_own_loader(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"sliced\.json"):
        load_pruned(folder)
