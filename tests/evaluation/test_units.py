"""Evaluators whose masks choose from all units: heads, groups of neurons, strengths of maps."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.evaluation import MaskEvaluator, ReferenceEvaluator
from prune_env.models import LoadedModel
from prune_env.models.unit_gates import write_units
from prune_env.models.unit_map import UnitMap, measure_units
from prune_env.settings import UnitSettings
from tests.evaluation.support import assert_same_answers, mask_walks, random_masks
from tests.models.tiny import tiny_classifier
from tests.support import tiny_bert, tiny_dataset, tiny_tokenizer

DATA = tiny_dataset(48)
SETTINGS = UnitSettings(groups=3, steps=2)
# By architecture the engine, and the maps of a layer that read the same.
KINDS = {
    "bert": ("packed", 4),
    "distilbert": ("packed", 4),
    "gpt2": ("layerwise", 4),
    "albert": ("plain", 4),
    "llama": ("layerwise", 4),
    "t5": ("layerwise", 4),
}


def cut(loaded: LoadedModel, settings: UnitSettings = SETTINGS) -> UnitMap:
    return measure_units(loaded, tiny_dataset(60, 1), settings)


def both(loaded: LoadedModel, **change: Any) -> tuple[MaskEvaluator, ReferenceEvaluator]:
    unit_map = cut(loaded)
    parts = (loaded.model, loaded.tokenizer, DATA)
    return MaskEvaluator(*parts, unit_map=unit_map, **change), ReferenceEvaluator(
        *parts, unit_map=unit_map
    )


@pytest.fixture(scope="module")
def bert() -> LoadedModel:
    return replace(tiny_classifier("bert"), model=tiny_bert(layers=3), tokenizer=tiny_tokenizer())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model_type", sorted(KINDS))
def test_every_architecture_is_exact(model_type: str, precision: str) -> None:
    fast, reference = both(tiny_classifier(model_type), precision=precision)
    kind, maps = KINDS[model_type]
    assert fast.shape == reference.shape == (fast.heads.shape[0], 4 + 3 + maps * 2)
    masks = random_masks(fast, 5)
    neighbours = masks[1:3].copy()
    neighbours[:, -1] ^= fast.available[-1]
    assert_same_answers(fast, reference, np.concatenate([masks, neighbours]))
    assert fast.backend.kind == kind


@settings(deadline=None, max_examples=12)
@given(
    masks=mask_walks(3, 4 + 3 + 8, 8),
    size=st.sampled_from([1, 100_000, 1 << 30]),
    precision=st.sampled_from(["fp32", "bf16"]),
)
def test_walks_through_masks_are_exact(
    bert: LoadedModel, masks: np.ndarray, size: int, precision: Any
) -> None:
    fast, reference = both(bert, max_cache_bytes=size, precision=precision)
    for part in np.array_split(masks, min(2, len(masks))):
        assert_same_answers(fast, reference, part)


def test_every_kind_of_unit_moves_the_answers(bert: LoadedModel) -> None:
    _, reference = both(bert)
    units = reference.units
    full = reference.available.copy()
    whole = reference.evaluate(full[None]).logits
    for column in (0, units.heads, units.heads + units.groups, units.shape[1] - 1):
        mask = full.copy()
        mask[1, column] = False
        moved = np.abs(reference.evaluate(mask[None]).logits - whole).max()
        assert moved > 1e-5, units.unit(1, column)


def test_the_number_of_steps_is_the_strength(bert: LoadedModel) -> None:
    _, reference = both(bert)
    first, second = (reference.available.copy() for _ in range(2))
    first[1, -2] = second[1, -1] = False
    first, second = (reference.evaluate(each[None]).logits for each in (first, second))
    np.testing.assert_array_equal(first, second)


def test_nothing_stays_of_a_mask(bert: LoadedModel) -> None:
    fast, reference = both(bert)
    before = {name: value.clone() for name, value in bert.model.state_dict().items()}
    masks = random_masks(fast, 3)
    fast.evaluate(masks)
    reference.evaluate(masks)
    after = bert.model.state_dict()
    assert all((after[name] == value).all() for name, value in before.items())
    assert reference.evaluate(masks).logits.tolist() == reference.evaluate(masks).logits.tolist()


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama"])
def test_written_weights_answer_as_the_mask_does(model_type: str) -> None:
    loaded = tiny_classifier(model_type)
    _, reference = both(loaded)
    assert reference.unit_map is not None
    for mask in random_masks(reference, 4):
        written = deepcopy(loaded.model)
        write_units(written, reference.unit_map, mask)
        plain = ReferenceEvaluator(written, loaded.tokenizer, DATA)
        expected = reference.evaluate(mask[None])
        got = plain.evaluate(plain.available[None])
        np.testing.assert_allclose(got.logits, expected.logits, atol=1e-4)


def test_without_groups_and_steps_it_is_the_evaluator_of_heads(bert: LoadedModel) -> None:
    parts = (bert.model, bert.tokenizer, DATA)
    units = MaskEvaluator(*parts, unit_map=cut(bert, UnitSettings(groups=0, steps=0)))
    heads = MaskEvaluator(*parts)
    masks = random_masks(heads, 6)
    assert units.shape == heads.shape
    assert units.evaluate(masks).logits.tolist() == heads.evaluate(masks).logits.tolist()


def test_the_quietest_neurons_are_in_the_first_group(bert: LoadedModel) -> None:
    unit_map = cut(bert)
    sizes = [len(unit_map.members(0, group)) for group in range(3)]
    assert sum(sizes) == bert.model.config.intermediate_size
    assert max(sizes) - min(sizes) <= 1
    _, reference = both(bert)
    full = reference.available
    masks = np.repeat(full[None], 3, axis=0)
    for group in range(3):
        masks[group, :, reference.units.heads + group] = False
    whole = reference.evaluate(full[None]).logits
    moved = np.abs(reference.evaluate(masks).logits - whole).mean(axis=(1, 2))
    assert moved[0] == moved.min()


def test_another_cut_is_another_fingerprint(bert: LoadedModel) -> None:
    parts = (bert.model, bert.tokenizer, DATA)
    prints = {
        MaskEvaluator(*parts, unit_map=unit_map).fingerprint
        for unit_map in (None, cut(bert), cut(bert, UnitSettings(groups=2)), cut(bert))
    }
    assert len(prints) == 3
