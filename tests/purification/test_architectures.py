"""One tester for every supported architecture: its evaluator is exact, and it is purified."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import prune_env
from prune_env.data import TextDataset, read_images
from prune_env.evaluation import MaskEvaluator, ReferenceEvaluator
from prune_env.models import (
    HeadGates,
    LoadedModel,
    find_heads,
    full_mask,
    load_classifier,
    load_mask,
)
from prune_env.models.architectures import IMAGE_TYPES
from prune_env.settings import SearchSettings
from tests.evaluation.support import assert_same_answers, random_masks
from tests.models.tiny import SIZES, tiny_inputs, write_tiny, write_tiny_images
from tests.support import tiny_dataset

SEARCH = SearchSettings(max_drop=0.4, importance_sentences=8, prune_step=2, guard="accuracy")


def data_for(model_type: str, folder: Path, rows: int, seed: int = 0) -> TextDataset:
    if model_type in IMAGE_TYPES:
        return read_images(write_tiny_images(folder / f"images-{seed}", rows, seed))
    return tiny_dataset(rows, seed)


def in_its_favour(source: Path, *parts: TextDataset) -> list[TextDataset]:
    """Return the data, labels swapped where a random model would be refused as below chance."""
    loaded = load_classifier(source)
    mask = full_mask(find_heads(loaded.model).shape)[None]
    evaluators = [ReferenceEvaluator(loaded.model, loaded.tokenizer, part) for part in parts]
    right = np.concatenate([each.evaluate(mask).correct[0] for each in evaluators])
    swap = bool(right.mean() < 0.5)
    return [replace(part, labels=1 - part.labels) if swap else part for part in parts]


def logits(loaded: LoadedModel) -> torch.Tensor:
    with torch.no_grad():
        return loaded.model(**tiny_inputs(loaded)).logits


@pytest.mark.parametrize("model_type", sorted(SIZES))
def test_the_fast_evaluator_equals_the_reference(model_type: str, tmp_path: Path) -> None:
    loaded = load_classifier(write_tiny(model_type, tmp_path / "model"))
    data = data_for(model_type, tmp_path, 24)
    fast = MaskEvaluator(loaded.model, loaded.tokenizer, data, precision="fp32")
    reference = ReferenceEvaluator(loaded.model, loaded.tokenizer, data)
    masks = random_masks(fast, 6)
    assert_same_answers(fast, reference, masks)
    expected = reference.evaluate(masks).logits
    np.testing.assert_allclose(fast.evaluate(masks).logits, expected, rtol=1e-4, atol=1e-4)
    assert np.ptp(expected, axis=0).min() > 1e-3  # each mask changes each answer


@pytest.mark.parametrize("model_type", sorted(SIZES))
def test_a_purify_run(model_type: str, tmp_path: Path) -> None:
    source = write_tiny(model_type, tmp_path / "model")
    out = tmp_path / "out"
    parts = (data_for(model_type, tmp_path, 32), data_for(model_type, tmp_path, 24, seed=1))
    train, validation = in_its_favour(source, *parts)
    report = prune_env.purify(
        source, train, validation, out, export="sliced", policy="magnitude", search_settings=SEARCH
    )
    result = report["result"]
    mask = load_mask(out / "mask.json")
    assert (~mask).sum() == result["heads_pruned"] > 0
    assert result["validation_accuracy_under_mask"] >= result["tau"]

    original = load_classifier(source)
    reference = ReferenceEvaluator(original.model, original.tokenizer, validation)
    assert reference.accuracy(mask[None])[0] == result["validation_accuracy_under_mask"]
    with HeadGates(original.model) as gates:
        gates.set(mask)
        expected = logits(original)
    torch.testing.assert_close(logits(prune_env.load_pruned(out)), expected, rtol=0, atol=1e-5)
    assert np.isclose(
        result["validation_accuracy_purified"], result["validation_accuracy_under_mask"]
    )
