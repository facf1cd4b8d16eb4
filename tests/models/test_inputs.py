import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BertConfig, PreTrainedTokenizerFast

from prune_env.data import TextDataset, read_images
from prune_env.data.pairs import text_pair
from prune_env.errors import DataError, SettingsError
from prune_env.evaluation import ReferenceEvaluator
from prune_env.evaluation.scores import TestSets, score
from prune_env.importance import head_importance
from prune_env.models import LoadedModel
from prune_env.models.inputs import TokenRows, check_kind, make_rows, token_limit
from prune_env.settings import FineTuneSettings
from prune_env.training.fine_tuning import fine_tune
from tests.models.tiny import tiny_classifier, write_tiny_images
from tests.support import tiny_dataset, tiny_tokenizer

CPU = torch.device("cpu")
TEXTS = ["the film", "a dull and very long story , not moving", "funny"]


def test_rows_hold_what_the_tokenizer_says() -> None:
    tokenizer = tiny_tokenizer()
    rows = TokenRows(TEXTS, tokenizer, 32)
    expected = tokenizer(TEXTS, padding=True, return_tensors="pt")
    batch = rows.batch(np.arange(3), CPU)
    assert rows.truncated == 0
    assert rows.lengths.tolist() == expected["attention_mask"].sum(1).tolist()
    assert torch.equal(batch["input_ids"], expected["input_ids"])
    assert rows.batch(np.array([2, 0]), CPU)["input_ids"].shape == (2, 4)
    assert rows.first_tokens(2, CPU)["input_ids"].tolist() == [[tokenizer.cls_token_id]] * 2


def test_cut_rows_are_counted(
    tiny_model: LoadedModel, tiny_data: TextDataset, caplog: pytest.LogCaptureFixture
) -> None:
    rows = TokenRows(TEXTS, tiny_tokenizer(), 6)
    assert rows.truncated == 1
    assert rows.lengths.max() == 6
    data = replace(tiny_data.select([0, 1, 2]), texts=tuple(TEXTS))
    with caplog.at_level(logging.WARNING):
        ReferenceEvaluator(tiny_model.model, tiny_model.tokenizer, data, max_length=6)
    assert "1 of 3 texts" in caplog.text


def test_a_row_without_tokens_is_refused() -> None:
    bare = tiny_tokenizer()
    bare.backend_tokenizer.post_processor = None
    assert isinstance(bare, PreTrainedTokenizerFast)
    with pytest.raises(DataError, match="Row 2 has no token"):
        TokenRows(["film", " "], bare, 8)
    assert TokenRows(["film", " "], tiny_tokenizer(), 8).lengths.tolist() == [3, 2]


def test_the_limit_is_the_tightest() -> None:
    tokenizer = tiny_tokenizer()
    config = BertConfig(max_position_embeddings=64)
    assert token_limit(1000, tokenizer, config) == 64
    assert token_limit(10, tokenizer, config) == 10
    assert token_limit(1000, tokenizer, BertConfig(max_position_embeddings=512)) == 128
    with pytest.raises(SettingsError, match="max_length"):
        token_limit(2, tokenizer, config)


@pytest.mark.parametrize("model_type", ["bert", "vit"])
def test_images_and_texts_are_not_mixed_up(model_type: str, tmp_path: Path) -> None:
    loaded = tiny_classifier(model_type)
    images = read_images(write_tiny_images(tmp_path / "i", rows=4))
    data = images if model_type == "bert" else tiny_dataset(4)
    run = FineTuneSettings(epochs=1)
    for use in (
        lambda: ReferenceEvaluator(loaded.model, loaded.tokenizer, data),
        lambda: score(loaded, TestSets(data)),
        lambda: head_importance(loaded.model, loaded.tokenizer, data, ["gate_gradient"]),
        lambda: fine_tune(loaded.model, loaded.tokenizer, data, run),
    ):
        with pytest.raises(DataError, match=r"--image-column.*, or choose another data set"):
            use()


def test_images_are_read_when_a_batch_asks(tmp_path: Path) -> None:
    loaded = tiny_classifier("vit")
    data = read_images(write_tiny_images(tmp_path / "i", rows=4))
    rows = make_rows(data.texts, loaded.tokenizer, 128)
    assert len(rows) == 4
    with Image.open(data.texts[2]) as image:
        expected = loaded.tokenizer([image], return_tensors="pt")["pixel_values"]
    assert torch.equal(rows.batch(np.array([2]), CPU)["pixel_values"], expected)
    Path(data.texts[2]).write_bytes(b"")
    rows.batch(np.array([0, 1]), CPU)
    with pytest.raises(DataError, match=r"0-2\.png"):
        rows.batch(np.array([2]), CPU)


def test_blank_texts_are_refused_where_the_tokenizer_makes_nothing_of_them() -> None:
    tokenizer = tiny_tokenizer()
    data = TextDataset(("a film", "", " "), [0, 1, 1], source="mine.csv")
    check_kind(tokenizer, data)  # [CLS] and [SEP]
    tokenizer.backend_tokenizer.post_processor = None
    with pytest.raises(DataError, match=r"mine\.csv holds 2 blank texts"):
        check_kind(tokenizer, data)


def test_of_a_pair_the_tokenizer_gets_both_texts() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]  # as BERT's are
    firsts, seconds = ["the film", "a dull story"], ["funny , not moving", "it is"]
    rows = TokenRows(list(map(text_pair, firsts, seconds)), tokenizer, 32)
    expected = tokenizer(firsts, seconds, padding=True, return_tensors="pt")
    batch = rows.batch(np.arange(2), CPU)
    assert batch.keys() == expected.keys()
    for name, values in batch.items():
        assert torch.equal(values, expected[name])
    assert batch["token_type_ids"].any()
    # The longer one is cut first.
    cut = TokenRows([text_pair("the film", "funny , not moving , it is")], tokenizer, 8)
    assert cut.truncated == 1
    assert tokenizer.decode(cut.row(0)["input_ids"]) == "[CLS] the film [SEP] funny , not [SEP]"


def test_a_pair_of_blank_texts_is_refused_as_a_blank_text_is() -> None:
    bare = tiny_tokenizer()
    bare.backend_tokenizer.post_processor = None
    data = TextDataset([text_pair("film", "film"), text_pair("", "")], [0, 1], source="FILE")
    with pytest.raises(DataError, match=r"FILE holds 1 blank text.*Actual: ' / '"):
        check_kind(bare, data)
