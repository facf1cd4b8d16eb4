"""Hostile and broken folders and configs: a typed error that names the culprit."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.errors import (
    ModelError,
    UnknownNameError,
    UnsafeModelError,
    UnsupportedModelError,
)
from prune_env.models import inspect_source, load_classifier, load_pruned
from tests.models.hostile import Canary, edit_json
from tests.models.tiny import tiny_inputs


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
    with pytest.raises(ModelError, match=r"config\.json (is damaged|is too large|holds too many)"):
        load_classifier(folder)


def test_a_name_that_stands_twice_is_refused(folder: Path) -> None:
    text = (folder / "config.json").read_text().rstrip().removesuffix("}")
    (folder / "config.json").write_text(f'{text}, "model_type": "roberta"}}')
    with pytest.raises(ModelError, match="a name stands twice"):
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
        {"vocab_size": 10**400},
        {"num_hidden_layers": 10**400},
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


@pytest.mark.parametrize("value", [1e9, 1e400, -1e-20, float("nan"), 10**400], ids=repr)
def test_a_norm_that_leaves_nothing_is_refused_for_its_epsilon(folder: Path, value: float) -> None:
    """It was called an architecture that cannot be pruned, or damaged weights."""
    edit_json(folder / "config.json", lambda content: content.update(layer_norm_eps=value))
    with pytest.raises(ModelError, match=r"config\.json sets layer_norm_eps to .*0 to 1, such"):
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
