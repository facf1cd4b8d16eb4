from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from prune_env.data.dataset import TextDataset
from prune_env.evaluation import ReferenceEvaluator
from prune_env.evaluation.fast import blocks
from prune_env.evaluation.fast.engine import Engine, beginnings, heads_ahead, walking_order
from prune_env.evaluation.fast.layerwise import LayerwiseEngine
from prune_env.evaluation.fast.packed import PackedEngine
from prune_env.evaluation.fast.packed_model import PackedModel
from prune_env.evaluation.fast.stack import find_layers
from prune_env.models import LoadedModel, load_classifier
from tests.evaluation.support import random_masks
from tests.support import write_tiny_folder

LAYERS, HEADS = 4, 4
Factory = Callable[..., Engine]


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("deep")
    return load_classifier(write_tiny_folder(folder, layers=LAYERS, heads=HEADS))


@pytest.fixture(scope="module")
def truth(deep: LoadedModel, tiny_data: TextDataset) -> ReferenceEvaluator:
    return ReferenceEvaluator(deep.model, deep.tokenizer, tiny_data)


def packed(truth: ReferenceEvaluator, size: int = 1 << 30, dtype: Any = torch.float32) -> Engine:
    model = PackedModel(truth.model, truth.heads, dtype)
    return PackedEngine(model, truth.tokens, np.arange(len(truth.tokens)), size)


def layerwise(truth: ReferenceEvaluator, size: int = 1 << 30) -> Engine:
    layers = find_layers(truth.model, truth.heads)
    rows = np.arange(len(truth.tokens))
    return LayerwiseEngine(
        truth.model, truth.heads, layers, tokens=truth.tokens, rows=rows, max_cache_bytes=size
    )


def one_at_a_time(engine: Engine, masks: np.ndarray) -> np.ndarray:
    return np.concatenate([engine.run(mask[None]) for mask in masks])


@pytest.mark.parametrize("factory", [packed, layerwise])
@pytest.mark.parametrize("size", [1, 30_000, 1 << 30])
def test_every_memory_gives_the_same_logits(
    truth: ReferenceEvaluator, factory: Factory, size: int
) -> None:
    masks = random_masks(truth, 6)
    changed = masks.copy()
    for row, mask in enumerate(changed):
        mask[row % LAYERS, row % HEADS] ^= True
    both = np.concatenate([masks, changed, masks[:2]])
    expected = truth.evaluate(both).logits
    engine = factory(truth, size)
    np.testing.assert_allclose(engine.run(both), expected, atol=1e-4)
    np.testing.assert_allclose(one_at_a_time(engine, both[::-1]), expected[::-1], atol=1e-4)
    engine.clear()
    np.testing.assert_allclose(engine.run(both[3:5]), expected[3:5], atol=1e-4)
    assert engine.run(both[:0]).shape == (0, *expected.shape[1:])


def test_bfloat16_bits_do_not_depend_on_history(truth: ReferenceEvaluator) -> None:
    masks = random_masks(truth, 8)
    first = packed(truth, dtype=torch.bfloat16).run(masks)
    second = one_at_a_time(packed(truth, 50_000, torch.bfloat16), masks[::-1])[::-1]
    np.testing.assert_array_equal(first, second)


def test_bfloat16_runs_where_onednn_refuses_it(
    truth: ReferenceEvaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = random_masks(truth, 4)
    exact = truth.evaluate(masks).logits
    size = np.abs(exact).mean()
    for fused in (blocks._FUSED_DTYPES, (torch.float32,)):
        monkeypatch.setattr(blocks, "_FUSED_DTYPES", fused)
        off = np.abs(packed(truth, dtype=torch.bfloat16).run(masks) - exact)
        # Either way rounds as the processor does: by 1.1 % in the mean where this was written.
        assert off.mean() < 0.015 * size


def counted(truth: ReferenceEvaluator) -> Counter[int]:
    """Count the calls of each layer of the model from now on."""
    layers = find_layers(truth.model, truth.heads)
    assert layers is not None
    calls: Counter[int] = Counter()
    for index, layer in enumerate(layers):
        layer.register_forward_pre_hook(
            lambda module, _, index=index: (
                calls.update([index]) if "forward" not in module.__dict__ else None
            )
        )
    return calls


def test_known_layers_are_not_run_again(deep: LoadedModel, tiny_data: TextDataset) -> None:
    truth = ReferenceEvaluator(deep.model, deep.tokenizer, tiny_data)
    engine = layerwise(truth)
    mask = np.ones((1, LAYERS, HEADS), bool)
    engine.run(mask)
    calls = counted(truth)
    mask[0, 2, 1] = False
    engine.run(mask)
    batches = calls[3]
    assert batches > 0
    assert calls == {2: batches, 3: batches}


def test_a_change_costs_the_layers_after_it(truth: ReferenceEvaluator) -> None:
    engine = packed(truth)
    assert isinstance(engine, PackedEngine)
    mask = np.ones((1, LAYERS, HEADS), bool)
    costs = []
    for place in (None, (3, 0), (2, 0), (1, 0), (0, 0), None):
        if place is not None:
            mask[0][place] = False
        before = engine.flops
        engine.run(mask)
        costs.append(engine.flops - before)
    whole, last, third, second, first, again = costs
    assert again == last  # what follows the last layer's heads is the cheapest thing there is
    assert last < third < second < first < whole
    assert last < 0.1 * whole


def test_pruned_heads_cost_nothing(truth: ReferenceEvaluator) -> None:
    full = np.ones((1, LAYERS, HEADS), bool)
    thin = full.copy()
    thin[0, 1:3, 1:] = False
    costs = []
    for mask in (full, thin):
        engine = packed(truth)
        assert isinstance(engine, PackedEngine)
        engine.run(mask)
        costs.append(engine.flops)
    assert costs[1] < 0.8 * costs[0]


def test_masks_are_walked_as_a_trie() -> None:
    masks = np.ones((4, 2, 2), bool)
    masks[0, 1, 0] = masks[1, 0, 1] = masks[3, 0, 1] = masks[3, 1, 1] = False
    order = walking_order(masks)
    rows = [masks[index, 0].tobytes() for index in order]
    assert rows == sorted(rows)

    keys = beginnings(masks, [[b"", b""]] * 4)
    ahead = heads_ahead(masks, keys, 2)
    assert ahead[b""].tolist() == [True, True]
    assert ahead[masks[1, :1].tobytes()].tolist() == [True, True]
    assert ahead[masks[0, :1].tobytes()].tolist() == [True, True]
    alone = heads_ahead(masks[:1], keys[:1], 2)
    assert alone[masks[0, :1].tobytes()].tolist() == [False, True]
