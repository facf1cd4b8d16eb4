"""Tokens that clean data does not hold are embedded as their neighbours."""

from dataclasses import replace
from itertools import chain, repeat
from math import nan

import pytest
import torch

from prune_env.data.dataset import TextDataset
from prune_env.inversion.vocabulary import vocabulary
from prune_env.models import LoadedModel, inputs
from prune_env.models.architectures import IMAGE_TYPES
from prune_env.models.embeddings import token_embeddings
from prune_env.models.forward import classify
from prune_env.models.inputs import own_tokens
from prune_env.purification import unseen_tokens
from prune_env.purification.judge import Judge
from prune_env.purification.refit import Refit
from prune_env.purification.unseen_tokens import HELD, NEIGHBOURS, TEMPERATURE, replace_unseen
from prune_env.settings import FineTuneSettings
from prune_env.training.phases import TrainingRun
from tests.models.tiny import SIZES, tiny_classifier
from tests.purification.support import masked
from tests.support import tiny_dataset

TRAIN, VALIDATION = tiny_dataset(200, 0), tiny_dataset(60, 1)
TUNING = FineTuneSettings(epochs=1, learning_rate=2e-3, batch_size=64, precision="fp32")


def held_by(loaded: LoadedModel, data: TextDataset) -> set[int]:
    """Return the tokens that enough texts hold, without those that are round every text."""
    rows = [set(loaded.tokenizer(text)["input_ids"]) for text in data.texts]
    every = set().union(*rows)
    held = {token for token in every if sum(token in row for row in rows) >= HELD}
    return held - own_tokens(loaded.tokenizer)


@pytest.mark.parametrize("model_type", sorted(set(SIZES) - IMAGE_TYPES))
def test_unseen_tokens_become_the_mean_of_the_nearest_that_are_held(model_type: str) -> None:
    loaded = tiny_classifier(model_type)
    before = token_embeddings(loaded.model).clone()
    answers = classify(loaded.model, loaded.tokenizer, list(TRAIN.texts))
    held = sorted(held_by(loaded, TRAIN))
    replaced = replace_unseen(loaded, TRAIN)
    after = token_embeddings(loaded.model)
    stay = {*held, *own_tokens(loaded.tokenizer)}
    others = [token for token in range(len(before)) if token not in stay]
    assert replaced == len(others) > 0
    assert torch.equal(after[sorted(stay)], before[sorted(stay)])
    mean = before[held].mean(0)
    for token in others[:: max(1, len(others) // 10)]:
        cosines = torch.cosine_similarity(before[token] - mean, before[held] - mean, dim=1)
        order = cosines.argsort(descending=True)[:NEIGHBOURS]
        shares = (cosines[order] / TEMPERATURE).softmax(0)
        expected = sum(share * before[held[row]] for share, row in zip(shares, order, strict=True))
        torch.testing.assert_close(after[token], expected, rtol=1e-3, atol=1e-5)
    # Texts of tokens that are held are answered as before.
    unchanged = [row for row, text in enumerate(TRAIN.texts) if _known(loaded, text, stay)]
    assert unchanged
    again = classify(loaded.model, loaded.tokenizer, [TRAIN.texts[row] for row in unchanged])
    assert again == pytest.approx(answers[unchanged], abs=1e-4)


def _known(loaded: LoadedModel, text: str, known: set[int]) -> bool:
    return set(loaded.tokenizer(text)["input_ids"]) <= known


def test_what_is_compared_at_a_time_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = tiny_classifier("bert"), tiny_classifier("bert")
    replace_unseen(one, TRAIN)
    monkeypatch.setattr(unseen_tokens, "CHUNK", 7)
    replace_unseen(other, TRAIN)
    torch.testing.assert_close(token_embeddings(one.model), token_embeddings(other.model))


def test_only_tokens_that_are_read_are_held() -> None:
    loaded = tiny_classifier("bert")
    late = replace(TRAIN, texts=tuple(f"{'the ' * 30}{text}" for text in TRAIN.texts))
    word = loaded.tokenizer.convert_tokens_to_ids("film")
    before = token_embeddings(loaded.model).clone()
    whole = tiny_classifier("bert")
    replace_unseen(whole, late)
    assert torch.equal(token_embeddings(whole.model)[word], before[word])
    assert replace_unseen(loaded, late, max_length=16) == 0  # `the` alone is no neighbourhood


def test_too_few_tokens_make_no_neighbourhood() -> None:
    loaded = tiny_classifier("bert")
    before = token_embeddings(loaded.model).clone()
    few = TRAIN.select([0])
    assert replace_unseen(loaded, few) == 0
    assert torch.equal(token_embeddings(loaded.model), before)


@pytest.mark.parametrize("drop", [2.0, -1.0])
def test_separation_decides_whether_unseen_tokens_are_replaced(drop: float) -> None:
    loaded = tiny_classifier("bert")
    word = loaded.tokenizer.convert_tokens_to_ids("cf")  # in no clean text
    before = token_embeddings(loaded.model)[word].clone()
    run = TrainingRun(replace(TUNING, weight_decay=0.0))
    done = (
        Refit(max_drop_unseen=drop, trained_from=0)
        .apply(masked(loaded, TRAIN, VALIDATION), run)
        .refits
    )
    moved = not torch.equal(token_embeddings(loaded.model)[word], before)
    assert moved == (drop > 0)
    assert [each.unseen_tokens > 0 for each in done] == [drop > 0, False]


@pytest.mark.parametrize(("after", "replaced"), [(0.896, True), (0.894, False), (nan, False)])
def test_clean_rows_must_be_told_apart_as_well_whatever_accuracy_says(
    after: float, replaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = tiny_classifier("bert")
    model = masked(loaded, TRAIN, VALIDATION)
    found = chain([0.9], repeat(after))
    monkeypatch.setattr(Judge, "separation", lambda *_: next(found))
    monkeypatch.setattr(Judge, "accuracy", lambda *_, **__: 0.0 if replaced else 1.0)
    word = loaded.tokenizer.convert_tokens_to_ids("cf")  # in no clean text
    before = token_embeddings(loaded.model)[word].clone()
    run = TrainingRun(replace(TUNING, weight_decay=0.0))
    (done,) = Refit().apply(model, run).refits
    assert (done.unseen_tokens > 0) == replaced
    assert torch.equal(token_embeddings(loaded.model)[word], before) != replaced


def test_a_word_that_a_strangers_tokenizer_calls_special_is_a_word_like_others() -> None:
    loaded = tiny_classifier("bert")
    loaded.tokenizer.add_special_tokens({"additional_special_tokens": ["cf"]})
    word = loaded.tokenizer.convert_tokens_to_ids("cf")  # in no clean text
    before = token_embeddings(loaded.model).clone()
    replace_unseen(loaded, TRAIN)
    after = token_embeddings(loaded.model)
    assert not torch.equal(after[word], before[word])
    for token in (loaded.tokenizer.cls_token_id, loaded.tokenizer.pad_token_id):
        assert torch.equal(after[token], before[token])
    assert "cf" in vocabulary(loaded)


def test_texts_are_tried_before_a_strangers_tokenizer_reads_them_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[str] = []
    monkeypatch.setattr(inputs, "try_texts", lambda _, texts: tried.extend(texts))
    replace_unseen(tiny_classifier("bert"), TRAIN)
    assert tuple(tried) == TRAIN.texts


def test_tokens_beyond_what_the_model_takes_are_not_held() -> None:
    loaded = tiny_classifier("bert")
    loaded.tokenizer.model_max_length = 16
    late = replace(TRAIN, texts=tuple(f"{'the ' * 30}{text}" for text in TRAIN.texts))
    assert replace_unseen(loaded, late) == 0  # `the` alone is no neighbourhood
