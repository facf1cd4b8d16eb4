"""Hostile and broken tokenizers."""

from pathlib import Path
from typing import Any

import pytest
import torch

from prune_env.errors import (
    ModelError,
    UnsafeModelError,
)
from prune_env.models import load_classifier
from tests.models.hostile import edit_json
from tests.models.tiny import tiny_inputs, write_tiny
from tests.support import tiny_tokenizer


def test_a_foreign_tokenizer_class_is_refused(folder: Path) -> None:
    change = {"tokenizer_class": "RagTokenizer"}
    edit_json(folder / "tokenizer_config.json", lambda content: content.update(change))
    with pytest.raises(UnsafeModelError, match="RagTokenizer"):
        load_classifier(folder)


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
