import logging

import numpy as np
import pytest
import torch
from transformers import BertConfig, PreTrainedTokenizerFast

from prune_env.errors import DataError, SettingsError
from prune_env.evaluation.tokens import TokenRows, token_limit
from tests.support import tiny_tokenizer

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


def test_cut_rows_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        rows = TokenRows(TEXTS, tiny_tokenizer(), 6)
    assert rows.truncated == 1
    assert rows.lengths.max() == 6
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
