import logging
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers.models.bert.modeling_bert import BertPooler

from prune_env.data.dataset import TextDataset
from prune_env.errors import SettingsError
from prune_env.evaluation import NO_CLASS, Evaluator, MaskEvaluator, ReferenceEvaluator
from prune_env.models import LoadedModel
from prune_env.models.architectures import IMAGE_TYPES
from tests.evaluation.support import (
    assert_same_answers,
    dead_classifier,
    mask_walks,
    random_masks,
)
from tests.models.tiny import SIZES, tiny_classifier
from tests.support import tiny_bert, tiny_dataset, tiny_tokenizer

DATA = tiny_dataset(48)
FULL = np.ones((1, 2, 4), bool)


def both(loaded: LoadedModel, data: Any = DATA, **change: Any) -> tuple[MaskEvaluator, Evaluator]:
    fast = MaskEvaluator(loaded.model, loaded.tokenizer, data, **change)
    return fast, ReferenceEvaluator(loaded.model, loaded.tokenizer, data)


PRECISIONS = ["fp32", "bf16"]


@settings(deadline=None, max_examples=12)
@given(
    masks=mask_walks(3, 4, 8),
    batch=st.sampled_from([1, 5, 32, 64]),
    blocks=st.integers(1, 4),
    size=st.sampled_from([1, 100_000, 1 << 30]),
    precision=st.sampled_from(PRECISIONS),
    seed=st.integers(0, 3),
)
def test_every_class_is_the_references(
    masks: np.ndarray, batch: int, blocks: int, size: int, precision: Any, seed: int
) -> None:
    model, tokenizer = tiny_bert(layers=3, seed=seed), tiny_tokenizer()
    reference = ReferenceEvaluator(model, tokenizer, DATA)
    fast = MaskEvaluator(
        model, tokenizer, DATA, batch_size=batch, max_cache_bytes=size, precision=precision
    )
    for part in np.array_split(masks, min(blocks, len(masks))):
        assert_same_answers(fast, reference, part)
    if size > 1:  # where logits are kept
        assert fast.evaluations == len(np.unique(masks, axis=0))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("model_type", sorted(set(SIZES) - set(IMAGE_TYPES)))
def test_every_architecture_is_exact(model_type: str, precision: str) -> None:
    fast, reference = both(tiny_classifier(model_type), precision=precision)
    masks = random_masks(fast, 5)
    neighbours = masks[1:3].copy()
    neighbours[:, -1] ^= fast.available[-1]
    assert_same_answers(fast, reference, np.concatenate([masks, neighbours]))
    own = {"albert": "plain"} | dict.fromkeys(
        ("bert", "distilbert", "electra", "roberta", "xlm-roberta"), "packed"
    )
    assert fast.backend.kind == own.get(model_type, "layerwise")
    assert fast.backend.screens == (precision == "bf16")
    if precision == "bf16":
        assert 0 < fast.backend.rechecked < fast.backend.computed


def test_a_known_mask_is_not_computed_again(tiny_model: LoadedModel) -> None:
    fast, _ = both(tiny_model)
    masks = random_masks(fast, 4)
    repeated = masks[[0, 1, 1, 2, 0]]
    assert fast.accuracy(repeated)[[0, 1]].tolist() == fast.accuracy(repeated)[[4, 2]].tolist()
    assert (fast.evaluations, fast.memo_hits) == (3, 7)
    result = fast.evaluate(masks)
    assert (fast.evaluations, fast.memo_hits) == (4, 10)
    np.testing.assert_array_equal(fast.correct(masks), result.correct)
    np.testing.assert_array_equal(fast.accuracy(masks), result.accuracy)
    assert fast.accuracy(masks[:0]).shape == (0,)
    assert fast.evaluate(masks[:0]).logits.shape == (0, len(DATA), 2)


def test_answers_belong_to_the_caller(tiny_model: LoadedModel) -> None:
    fast, reference = both(tiny_model)
    fast.evaluate(FULL).logits[:] = 0
    fast.accuracy(FULL)[:] = 0
    fast.correct(FULL)[:] = False
    assert_same_answers(fast, reference, FULL)


def test_logits_that_gave_way_are_computed_again(tiny_model: LoadedModel) -> None:
    fast, reference = both(tiny_model, max_cache_bytes=16 * 500)
    masks = random_masks(fast, 4)
    for _ in range(2):
        assert_same_answers(fast, reference, masks)
    assert fast.evaluations > 4


@pytest.mark.parametrize("precision", PRECISIONS)
def test_memory_stays_inside_its_bound(precision: str) -> None:
    model, tokenizer = tiny_bert(layers=4), tiny_tokenizer()
    size = 120_000
    fast = MaskEvaluator(model, tokenizer, DATA, max_cache_bytes=size, precision=precision)
    masks = random_masks(fast, 12)
    assert_same_answers(fast, ReferenceEvaluator(model, tokenizer, DATA), masks)
    held = [engine._cache.nbytes for engine in fast.backend.engines]  # type: ignore[attr-defined]
    assert sum(held) <= size
    wide = MaskEvaluator(model, tokenizer, DATA, precision=precision)
    wide.accuracy(masks)
    assert wide.backend.engines[0]._cache.nbytes > size  # type: ignore[attr-defined]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_ties_and_nan_follow_the_rule(tiny_model: LoadedModel, precision: str) -> None:
    dead_classifier(tiny_model.model)
    fast, reference = both(tiny_model, precision=precision)
    assert_same_answers(fast, reference, random_masks(fast, 2))
    assert not fast.evaluate(FULL).predictions.any()
    assert fast.backend.referred >= 2 * len(DATA)
    with torch.no_grad():
        tiny_model.model.classifier.bias[1] = torch.nan
    fast, reference = both(tiny_model, precision=precision)
    assert_same_answers(fast, reference, random_masks(fast, 2))
    assert (fast.evaluate(FULL).predictions == NO_CLASS).all()
    assert fast.accuracy(FULL).tolist() == [0.0]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_damaged_head_is_damaged_in_both(tiny_model: LoadedModel, precision: str) -> None:
    with torch.no_grad():
        tiny_model.model.bert.encoder.layer[0].attention.self.value.weight[3] = torch.nan
    fast, reference = both(tiny_model, precision=precision)
    mask = FULL.copy()
    mask[0, 0, 0] = False
    assert_same_answers(fast, reference, np.concatenate([FULL, mask]))


def test_a_model_that_pools_all_tokens_is_not_packed(
    tiny_model: LoadedModel, caplog: pytest.LogCaptureFixture
) -> None:
    class MeanPooler(BertPooler):
        def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
            return self.activation(self.dense(hidden_states.mean(1)))

    tiny_model.model.bert.pooler.__class__ = MeanPooler
    fast, reference = both(tiny_model)
    with caplog.at_level(logging.DEBUG, logger="prune_env"):
        assert_same_answers(fast, reference, random_masks(fast, 4))
    assert fast.backend.kind != "packed"
    assert "The packed evaluation is off: it differs by" in caplog.text


def test_one_sentence_and_long_sentences(tiny_model: LoadedModel) -> None:
    long = TextDataset(
        ("a film " * 300, "dull", "", "\u2603 \U0001f600 \u202e"), np.array([0, 1, 1, 0])
    )
    for data in (long, long.select([0]), long.select([2])):
        fast, reference = both(tiny_model, data, precision="bf16")
        assert_same_answers(fast, reference, random_masks(fast, 3))


def test_settings_are_checked(tiny_model: LoadedModel) -> None:
    with pytest.raises(SettingsError, match="max_cache_bytes"):
        both(tiny_model, max_cache_bytes=0)
    with pytest.raises(SettingsError, match="precision"):
        both(tiny_model, precision="fp16")


@settings(
    deadline=None, max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 100))
def test_two_evaluators_of_one_model_do_not_meet(tiny_model: LoadedModel, seed: int) -> None:
    first, reference = both(tiny_model)
    second = MaskEvaluator(tiny_model.model, tiny_model.tokenizer, DATA, precision="bf16")
    masks = random_masks(first, 3, seed)
    assert_same_answers(first, reference, masks)
    assert_same_answers(second, reference, masks[::-1])
    assert first.fingerprint == second.fingerprint != reference.fingerprint
