from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prune_env.data.dataset import TextDataset
from prune_env.evaluation import ReferenceEvaluator
from prune_env.evaluation.fast.exact_rows import ExactRows
from prune_env.evaluation.fast.packed_model import PackedModel
from prune_env.models import LoadedModel, load_classifier
from tests.evaluation.support import mask_walks
from tests.support import write_tiny_folder

LAYERS, HEADS = 3, 4


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("deep")
    return load_classifier(write_tiny_folder(folder, layers=LAYERS, heads=HEADS))


@pytest.fixture(scope="module")
def truth(deep: LoadedModel, tiny_data: TextDataset) -> ReferenceEvaluator:
    return ReferenceEvaluator(deep.model, deep.tokenizer, tiny_data)


def exact_rows(truth: ReferenceEvaluator, size: int = 1 << 30) -> ExactRows:
    model = PackedModel(truth.model, truth.heads, torch.float32)
    return ExactRows(model, truth.tokens, size)  # type: ignore[arg-type]


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    masks=mask_walks(LAYERS, HEADS, 6),
    size=st.sampled_from([1, 40_000, 1 << 30]),
    seed=st.integers(0, 1000),
)
def test_changing_rows_under_changing_masks_are_the_references(
    truth: ReferenceEvaluator, masks: np.ndarray, size: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    asked = exact_rows(truth, size)
    for mask in masks:
        rows = random.permutation(len(truth.tokens))[: random.integers(1, 40)]
        expected = truth.evaluate(mask[None]).logits[0, rows]
        np.testing.assert_allclose(asked.run(mask, rows), expected, atol=1e-4)
        assert asked._cache.nbytes <= size


def test_only_what_a_mask_changes_is_run_again(truth: ReferenceEvaluator) -> None:
    asked = exact_rows(truth)
    calls: Counter[int] = Counter()
    for layer in range(LAYERS):
        block = asked._packed.block(layer, b"")

        def counted(*args: torch.Tensor, _layer: int = layer, _run=block.after_attention):  # type: ignore[no-untyped-def]
            calls[_layer] += 1
            return _run(*args)

        block.after_attention = counted  # type: ignore[method-assign]
    mask = np.ones((LAYERS, HEADS), bool)
    rows = np.arange(20)
    for place, expected in (
        (None, {0: 1, 1: 1, 2: 1}),
        ((2, 0), {2: 1}),
        ((1, 3), {1: 1, 2: 1}),
        ((0, 1), {0: 1, 1: 1, 2: 1}),
        (None, {2: 1}),
    ):
        if place is not None:
            mask[place] = False
        calls.clear()
        asked.run(mask, rows)
        assert calls == expected
    calls.clear()
    asked.run(mask, np.arange(10, 30))  # half of them are new
    assert calls == {0: 1, 1: 1, 2: 1}
