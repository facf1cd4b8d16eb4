"""Hostile and broken tokenizers."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from prune_env.errors import (
    ModelError,
    UnsafeModelError,
)
from prune_env.models import load_classifier
from prune_env.models.forward import classify, cls_vectors
from tests.models.hostile import edit_json
from tests.models.tiny import TEXTS, write_tiny
from tests.support import tiny_tokenizer


def test_a_foreign_tokenizer_class_is_refused(folder: Path) -> None:
    change = {"tokenizer_class": "RagTokenizer"}
    edit_json(folder / "tokenizer_config.json", lambda content: content.update(change))
    with pytest.raises(UnsafeModelError, match="RagTokenizer"):
        load_classifier(folder)


@pytest.mark.parametrize("named", ["tokenizer_config.json", "config.json", "processor_config.json"])
def test_a_foreign_class_is_refused_in_every_file(folder: Path, named: str) -> None:
    """transformers reads the class in another file where the first does not name it."""
    edit_json(folder / "tokenizer_config.json", lambda content: content.pop("tokenizer_class"))
    path = folder / named
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**content, "tokenizer_class": "RagTokenizer"}))
    with pytest.raises(UnsafeModelError, match=f"{named}.*RagTokenizer"):
        load_classifier(folder)


@pytest.mark.parametrize("key", ["tokenizer_file", "vocab_file"])
def test_files_elsewhere_are_not_read(folder: Path, key: str, tmp_path: Path) -> None:
    """What is read is in the folder, since only that is hashed."""
    before = load_classifier(folder).tokenizer(list(TEXTS))["input_ids"]
    other = json.loads((folder / "tokenizer.json").read_text())
    words = other["model"]["vocab"]
    words["film"], words["great"] = words["great"], words["film"]
    (tmp_path / "other.json").write_text(json.dumps(other))
    change = {key: str(tmp_path / "other.json")}
    edit_json(folder / "tokenizer_config.json", lambda content: content.update(change))
    assert load_classifier(folder).tokenizer(list(TEXTS))["input_ids"] == before


@pytest.mark.parametrize(
    ("file", "change", "error"),
    [
        ("preprocessor_config.json", {"image_processor_type": "BlipImageProcessor"}, "Blip"),
        ("config.json", {"image_processor_type": "BlipImageProcessor"}, "Blip"),
        ("processor_config.json", {"image_processor": {"image_processor_type": "Blip"}}, "Blip"),
        ("preprocessor_config.json", {"feature_extractor_type": "WhisperFeatureExtractor"}, "Whi"),
        ("preprocessor_config.json", {"size": {"height": 10**6, "width": 10**6}}, "pixels"),
        ("preprocessor_config.json", {"size": 10**400}, "pixels"),
        ("preprocessor_config.json", {"size": [16, 30_000]}, "pixels"),
        ("preprocessor_config.json", {"size": {"max_height": 9999, "max_width": 9}}, "pixels"),
        ("preprocessor_config.json", {"crop_size": [5e4, 16], "do_center_crop": True}, "pixels"),
        ("preprocessor_config.json", {"pad_size": 30_000, "do_pad": True}, "pixels"),
        ("preprocessor_config.json", {"size": "big"}, "image processor|sample"),
        ("preprocessor_config.json", {"image_mean": "x"}, "image processor|sample"),
    ],
    ids=str,
)
def test_a_hostile_image_processor(
    file: str, change: dict[str, Any], error: str, tmp_path: Path
) -> None:
    folder = write_tiny("vit", tmp_path / "vit")
    path = folder / file
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**content, **change}))
    with pytest.raises(ModelError, match=error):
        load_classifier(folder)


def test_an_old_name_of_an_image_processor_is_known(tmp_path: Path) -> None:
    folder = write_tiny("vit", tmp_path / "vit")

    def edit(content: dict[str, Any]) -> None:
        del content["image_processor_type"]
        content["feature_extractor_type"] = "ViTFeatureExtractor"

    edit_json(folder / "preprocessor_config.json", edit)
    assert type(load_classifier(folder).tokenizer).__name__.startswith("ViTImageProcessor")


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


@pytest.mark.parametrize("dropout", [0.9, 1e-3, 1.0])
def test_a_tokenizer_that_draws_how_it_cuts_is_refused(dropout: float, tmp_path: Path) -> None:
    """Results are promised bit-equal."""
    folder = write_bpe(tmp_path, dropout)
    with pytest.raises(ModelError, match=r"at random.*set dropout to null"):
        load_classifier(folder)


def test_unigram_that_draws_is_refused_or_does_not_draw(tmp_path: Path) -> None:
    """Some releases of `tokenizers` do not read `alpha` from the file."""
    folder = write_tiny("gpt2", tmp_path / "gpt2")

    def edit(content: dict[str, Any]) -> None:
        words = sorted(content["model"]["vocab"], key=content["model"]["vocab"].get)
        words[-4:] = ["f", "i", "fi", "film"]
        content["model"] = {
            "type": "Unigram",
            "unk_id": 1,
            "vocab": [[word, -1.0 - len(word)] for word in words],
            "alpha": 0.1,
            "nbest_size": 64,
        }

    edit_json(folder / "tokenizer.json", edit)
    with suppress(ModelError):
        tokenizer = load_classifier(folder).tokenizer
        assert len({tuple(tokenizer("film film film")["input_ids"]) for _ in range(20)}) == 1


@pytest.mark.parametrize("dropout", [None, 0.0])
def test_a_bpe_without_dropout_is_taken(dropout: float | None, tmp_path: Path) -> None:
    tokenizer = load_classifier(write_bpe(tmp_path, dropout)).tokenizer
    assert len({tuple(tokenizer("film film")["input_ids"]) for _ in range(20)}) == 1


def write_bpe(place: Path, dropout: float | None) -> Path:
    def edit(content: dict[str, Any]) -> None:
        vocabulary = content["model"]["vocab"]
        content["model"] = {"type": "BPE", "vocab": vocabulary, "merges": [], "dropout": dropout}

    folder = write_tiny("gpt2", place / "gpt2")
    edit_json(folder / "tokenizer.json", edit)
    return folder


def test_no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="holds no tokenizer"):
        load_classifier(folder)


def field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer that holds bytes; numbers up to 15."""
    size, length = len(content), b""
    while size > 0x7F:
        size, length = size >> 7, length + bytes([size & 0x7F | 0x80])
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def sentencepiece(pieces: list[bytes]) -> bytes:
    """A SentencePiece model: of every piece its text and its score; then a version."""
    each = (field(1, piece) + b"\x15\0\0\0\0" for piece in pieces)
    return b"".join(field(1, content) for content in each) + field(2, b"\x20\x05")


@pytest.mark.parametrize(
    ("file", "content", "error"),
    [
        ("added_tokens.json", {"x" * 1_001: 60}, "added tokens of up to 1000 characters"),
        ("added_tokens.json", {f"{i:0900}": i for i in range(2_000)}, "long tokens.*1,800,000"),
        ("added_tokens.json", {"x": 10**9}, "numbers of tokens from 0 to 11,999.*1000000000"),
        ("added_tokens.json", {"x": "a"}, "numbers of tokens"),
        ("added_tokens.json", ["x"], "a JSON object of tokens and their numbers"),
        ("vocab.txt", b"a\n" * 2_001, "too many tokens.*2,001"),
        ("vocab.txt", b"a\r" * 2_001, "too many tokens.*2,001"),
        ("merges.txt", b"a b\r\n" * 2_001, "too many merges.*2,001"),
        ("spm.model", sentencepiece([b"a", b"b" * 1_001]), "pieces of up to 1000 bytes"),
        ("tokenizer.model", sentencepiece([b"a"] * 2_001), "too many pieces"),
        ("tokenizer.model", b"IQ== 0\n" * 2_001, "too many pieces.*2,001"),
        ("spiece.model", b"\0" * 40_001, "too large.*40,001"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_a_vocabulary_is_judged_before_it_is_built(
    folder: Path, file: str, content: Any, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, most in (("VOCABULARY", 2_000), ("MERGES", 2_000), ("SENTENCEPIECE_BYTES", 40_000)):
        monkeypatch.setenv(f"PRUNE_ENV_MAX_{name}", str(most))
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / file).write_bytes(raw)
    with pytest.raises(ModelError, match=f"{file}.*{error}"):
        load_classifier(folder)


@pytest.mark.parametrize(
    "content",
    [
        {"extra_special_tokens": [f"<{i}>" for i in range(10_001)]},
        {"additional_special_tokens": {f"<{i}>": f"<{i}>" for i in range(10_001)}},
        {"added_tokens_decoder": {str(i): {"content": f"<{i}>"} for i in range(10_001)}},
    ],
    ids=lambda content: next(iter(content)),
)
def test_special_tokens_are_counted_wherever_they_are_named(
    folder: Path, content: dict[str, Any]
) -> None:
    edit_json(folder / "tokenizer_config.json", lambda config: config.update(content))
    with pytest.raises(ModelError, match=r"adds too many tokens.*10,001"):
        load_classifier(folder)


def test_numbers_of_added_tokens_are_small(folder: Path) -> None:
    change = {"added_tokens_decoder": {"1000000000": {"content": "<x>"}}}
    edit_json(folder / "tokenizer_config.json", lambda content: content.update(change))
    with pytest.raises(ModelError, match="numbers of tokens from 0 to"):
        load_classifier(folder)


@pytest.mark.parametrize("file", ["spm.model", "sentencepiece.bpe.model"])
def test_sentencepiece_alone_names_the_packages_that_read_it(
    folder: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prune_env.models.processor._is_installed", lambda _: False)
    (folder / "tokenizer.json").unlink()
    (folder / file).write_bytes(sentencepiece([b"<pad>", b"a"]))
    with pytest.raises(ModelError, match=rf"{file}.*pip install sentencepiece protobuf"):
        load_classifier(folder)
    monkeypatch.setattr("prune_env.models.processor._is_installed", lambda _: True)
    with pytest.raises(ModelError, match=r"cannot be loaded|cannot be used"):
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


def test_a_decoder_without_padding_token_answers_where_it_learned_to(tmp_path: Path) -> None:
    """Padded with its end, where texts end with that, it would answer one token earlier."""
    folder = write_tiny("gpt2", tmp_path / "gpt2", pad_token_id=None)
    spoil_padding(folder, eos=None)
    with pytest.raises(ModelError, match="pads a batch"):
        load_classifier(folder)
    spoil_padding(folder, eos="[SEP]")
    own = AutoModelForSequenceClassification.from_pretrained(folder)
    assert own.config.pad_token_id is None
    loaded = load_classifier(folder)
    assert loaded.tokenizer(TEXTS[0])["input_ids"][-1] == loaded.tokenizer.eos_token_id
    assert loaded.tokenizer.pad_token == "[UNK]"
    assert loaded.model.config.pad_token_id == loaded.tokenizer.pad_token_id
    found = classify(loaded.model, loaded.tokenizer, TEXTS)
    with torch.no_grad():
        alone = [own(**loaded.tokenizer(each, return_tensors="pt")).logits for each in TEXTS]
    torch.testing.assert_close(torch.from_numpy(found), torch.cat(alone), rtol=0, atol=1e-5)


def test_a_decoder_whose_texts_end_bare_pads_with_its_end(tmp_path: Path) -> None:
    folder = write_tiny("gpt2", tmp_path / "gpt2", pad_token_id=None)
    spoil_padding(folder, eos="[SEP]")
    edit_json(folder / "tokenizer.json", lambda content: content.update(post_processor=None))
    assert load_classifier(folder).tokenizer.pad_token == "[SEP]"


def test_the_vector_is_the_one_that_the_head_reads(tmp_path: Path) -> None:
    """Where a decoder's padding is its end, transformers takes what stands before that."""
    folder = write_tiny("gpt2", tmp_path / "gpt2")
    spoil_padding(folder, eos="[SEP]")
    end = load_classifier(folder).tokenizer.convert_tokens_to_ids("[SEP]")
    named = {"pad_token": "[SEP]"}
    edit_json(folder / "tokenizer_config.json", lambda content: content.update(named))
    edit_json(folder / "config.json", lambda content: content.update(pad_token_id=end))
    loaded = load_classifier(folder)
    states = torch.from_numpy(cls_vectors(loaded.model, loaded.tokenizer, TEXTS))
    with torch.no_grad():
        told = loaded.model.score(states)
    found = torch.from_numpy(classify(loaded.model, loaded.tokenizer, TEXTS))
    torch.testing.assert_close(told, found, rtol=0, atol=1e-5)


def spoil_padding(folder: Path, eos: str | None) -> None:
    def edit(content: dict[str, Any]) -> None:
        content.pop("pad_token", None)
        content["eos_token"] = eos

    edit_json(folder / "tokenizer_config.json", edit)


@pytest.mark.parametrize("own", [-1, 0])
def test_a_padding_token_that_only_the_config_names(tmp_path: Path, own: int) -> None:
    """-1 is none, as old models say it; 0 is taken if it is a special token."""
    folder = write_tiny("gpt2", tmp_path / "gpt2", pad_token_id=own)
    spoil_padding(folder, eos=None)
    if own:
        with pytest.raises(ModelError, match="Actual: none in the tokenizer"):
            load_classifier(folder)
    spoil_padding(folder, eos="[SEP]")
    loaded = load_classifier(folder)
    assert loaded.tokenizer.pad_token_id == loaded.model.config.pad_token_id
    assert loaded.tokenizer.pad_token == "[UNK]"
