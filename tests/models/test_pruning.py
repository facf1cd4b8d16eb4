"""Sliced models: equal outputs, smaller weights, on every architecture where that is sound."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from prune_env.models import (
    find_heads,
    slice_heads,
    zero_heads,
)
from prune_env.models.architectures import SHARED_BIASES
from prune_env.models.pruning import LayerCut, plan_cuts
from tests.models.exports import save_sliced
from tests.models.tiny import SIZES, gated, tiny_classifier, tiny_inputs

EXACT = {"rtol": 1e-5, "atol": 1e-5}


def masks_of(shape: tuple[int, int]) -> list[np.ndarray]:
    """Random masks, one that empties a layer, one that keeps a single head of the last layer."""
    random = np.random.default_rng(0)
    masks = [random.random(shape) < 0.5 for _ in range(3)]
    emptied = np.ones(shape, dtype=bool)
    emptied[0] = False
    single = np.ones(shape, dtype=bool)
    single[-1] = [False, False, True, False]
    return [*masks, emptied, single]


@pytest.mark.parametrize("model_type", sorted(SIZES))
def test_sliced_equals_gated(model_type: str) -> None:
    loaded = tiny_classifier(model_type)
    size = sum(parameter.numel() for parameter in loaded.model.parameters())
    for mask in masks_of(find_heads(loaded.model).shape):
        sliced = copy.deepcopy(loaded.model)
        cuts = slice_heads(sliced, mask)
        with torch.no_grad():
            actual = sliced(**tiny_inputs(loaded)).logits
        torch.testing.assert_close(actual, gated(loaded, mask), **EXACT)
        assert sum(parameter.numel() for parameter in sliced.parameters()) < size
        found = find_heads(sliced)
        assert [layer.num_heads for layer in found.layers] == [len(cut.heads) for cut in cuts]
        assert [layer.kv_heads for layer in found.layers] == [len(cut.kv_heads) for cut in cuts]


@pytest.mark.parametrize("model_type", sorted(SHARED_BIASES))
def test_layers_that_share_position_biases_may_keep_different_heads(model_type: str) -> None:
    """The table stays whole; copies keep their own way to it; a second cut goes by what is left."""
    loaded = tiny_classifier(model_type)
    mask = np.array([[False, True, False, True], [True, False, True, True]])
    expected = gated(loaded, mask)
    both = gated(loaded, np.array([[False, True, False, False], [True, False, False, True]]))
    slice_heads(loaded.model, mask)
    twin = copy.deepcopy(loaded.model)
    slice_heads(twin, [[True, False, False], [True, False, True]])
    with torch.no_grad():
        batch = tiny_inputs(loaded)
        torch.testing.assert_close(loaded.model(**batch).logits, expected, **EXACT)
        torch.testing.assert_close(twin(**batch).logits, both, **EXACT)


def test_deberta_position_maps_are_cut_too() -> None:
    loaded = tiny_classifier("deberta-v2", share_att_key=False)
    mask = np.array([[True, False, False, True], [True, True, True, False]])
    expected = gated(loaded, mask)
    slice_heads(loaded.model, mask)
    assert find_heads(loaded.model).layers[0].attention.pos_key_proj.out_features == 16
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(**tiny_inputs(loaded)).logits, expected, **EXACT)


@pytest.mark.parametrize(
    ("row", "cut"),
    [
        ([1, 1, 1, 1], LayerCut((0, 1, 2, 3), (0, 1))),
        ([0, 0, 1, 1], LayerCut((2, 3), (1,))),
        ([0, 1, 1, 0], LayerCut((1, 2), (0, 1))),
        ([1, 1, 1, 0], LayerCut((0, 1, 2, 3), (0, 1))),  # head 3 stays as zeros: equal groups
        ([0, 1, 0, 0], LayerCut((1,), (0,))),
        ([0, 0, 0, 0], LayerCut((0,), (0,))),  # attention over no head does not exist
    ],
)
def test_grouped_queries_keep_equal_groups(row: list[int], cut: LayerCut) -> None:
    loaded = tiny_classifier("llama")
    assert plan_cuts(find_heads(loaded.model), [row, [1] * 4])[0] == cut


def test_heads_that_stay_for_their_shape_are_zero() -> None:
    loaded = tiny_classifier("qwen3")
    mask = np.array([[1, 1, 1, 0], [0, 0, 0, 0]], dtype=bool)
    slice_heads(loaded.model, mask)
    first, second = find_heads(loaded.model).layers
    assert first.output_weight()[:, :3].any()
    assert not first.output_weight()[:, 3].any()
    assert not second.output_weight().any()


def test_gates_work_on_a_sliced_model() -> None:
    loaded = tiny_classifier("bert")
    first = np.array([[True, False, True, True], [True, True, True, True]])
    both = np.array([[True, False, True, False], [False, True, True, True]])
    expected = gated(loaded, both)
    slice_heads(loaded.model, first)
    heads = find_heads(loaded.model)
    assert heads.shape == (2, 4)
    assert heads.available.tolist() == [[True, True, True, False], [True] * 4]
    again = np.array([[True, True, False, True], [False, True, True, True]])
    torch.testing.assert_close(gated(loaded, again), expected, **EXACT)
    zero_heads(loaded.model, again)
    torch.testing.assert_close(gated(loaded, np.ones((2, 4))), expected, **EXACT)


def test_plain_transformers_refuses_a_sliced_folder(tmp_path: Path) -> None:
    """A wrong loader must fail, never fill the gaps at random."""
    loaded = tiny_classifier("bert")
    save_sliced(loaded, np.array([[True, False, True, True], [True] * 4]), tmp_path / "sliced")
    with pytest.raises(RuntimeError):
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "sliced")


@pytest.mark.parametrize(("model_type", "kept"), [("bert", [0, 0, 1, 1]), ("llama", [0, 1])])
def test_values_that_no_kept_head_reads_are_zero(model_type: str, kept: list[int]) -> None:
    loaded = tiny_classifier(model_type)
    value = find_heads(loaded.model).layers[0].value
    parts = [part for part in (value.weight(), value.bias()) if part is not None]
    with torch.no_grad():
        for part in parts:
            part.fill_(1.0)
    zero_heads(loaded.model, np.array([[0, 0, 1, 1], [1, 1, 1, 1]], dtype=bool))
    for part in parts:
        assert [bool(rows.any()) for rows in part.chunk(len(kept))] == list(map(bool, kept))
