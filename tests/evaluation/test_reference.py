import numpy as np
import pytest
import torch

from prune_env.data.dataset import TextDataset
from prune_env.errors import DataError, ModelError, SettingsError, StateError
from prune_env.evaluation import Evaluator, ReferenceEvaluator
from prune_env.models import LoadedModel, zero_heads
from tests.evaluation.support import random_masks


def reference(loaded: LoadedModel, data: object, **settings: int) -> ReferenceEvaluator:
    return ReferenceEvaluator(loaded.model, loaded.tokenizer, data, **settings)


def test_it_answers_as_the_model_with_zeroed_heads(
    tiny_model: LoadedModel, tiny_data: TextDataset
) -> None:
    evaluator = reference(tiny_model, tiny_data)
    assert isinstance(evaluator, Evaluator)
    mask = random_masks(evaluator, 3)[1]
    result = evaluator.evaluate(mask[None])
    before = tiny_model.model(**evaluator.tokens.batch(np.arange(4), evaluator.device)).logits
    zero_heads(tiny_model.model, mask)
    for row, text in enumerate(tiny_data.texts):
        with torch.no_grad():
            logits = tiny_model.model(**tiny_model.tokenizer(text, return_tensors="pt")).logits
        np.testing.assert_allclose(result.logits[0, row], logits[0].numpy(), atol=1e-4)
    assert not np.allclose(before.detach().numpy(), result.logits[0, :4], atol=1e-2)
    assert result.accuracy[0] == np.mean(result.predictions[0] == tiny_data.labels)


def test_the_model_is_left_as_it_was(tiny_model: LoadedModel, tiny_data: TextDataset) -> None:
    evaluator = reference(tiny_model, tiny_data)
    tiny_model.model.train()
    first = evaluator.evaluate(random_masks(evaluator, 2))
    assert tiny_model.model.training
    assert not any(m._forward_pre_hooks for m in tiny_model.model.modules())
    again = evaluator.evaluate(random_masks(evaluator, 2))
    np.testing.assert_array_equal(first.logits, again.logits)
    assert evaluator.evaluations == 4


def test_the_mode_of_every_module_is_left_as_it_was(
    tiny_model: LoadedModel, tiny_data: TextDataset
) -> None:
    evaluator = reference(tiny_model, tiny_data)
    model = tiny_model.model.train()
    modules = list(model.modules())
    frozen = modules[len(modules) // 2].eval()
    before = [module.training for module in modules]
    evaluator.evaluate(random_masks(evaluator, 1))
    assert not frozen.training
    assert [module.training for module in modules] == before


def test_batch_size_is_only_rounding(tiny_model: LoadedModel, tiny_data: TextDataset) -> None:
    logits = [
        reference(tiny_model, tiny_data, batch_size=size).evaluate(np.ones((1, 2, 4), bool)).logits
        for size in (1, 7, 64, 1000)
    ]
    for other in logits[1:]:
        np.testing.assert_allclose(other, logits[0], atol=1e-4)


def test_reference_batches_are_the_truth_bit_for_bit(
    tiny_model: LoadedModel, tiny_data: TextDataset
) -> None:
    evaluator = reference(tiny_model, tiny_data, batch_size=10)
    mask = random_masks(evaluator, 2)[1]
    rows, logits = evaluator.reference_logits(mask, np.array([3, 25]))
    assert rows.tolist() == [*range(10), *range(20, 30)]
    np.testing.assert_array_equal(logits, evaluator.evaluate(mask[None]).logits[0, rows])


def test_the_fingerprint_knows_weights_data_and_kind(
    tiny_model: LoadedModel, tiny_data: TextDataset
) -> None:
    prints = {reference(tiny_model, tiny_data).fingerprint for _ in range(2)}
    assert len(prints) == 1
    prints.add(reference(tiny_model, tiny_data.select(range(63))).fingerprint)
    prints.add(reference(tiny_model, tiny_data, max_length=5).fingerprint)
    with torch.no_grad():
        tiny_model.model.classifier.weight[0, 0] += 1e-3
    prints.add(reference(tiny_model, tiny_data).fingerprint)
    assert len(prints) == 4


def test_what_cannot_be_evaluated_is_refused(
    tiny_model: LoadedModel, tiny_data: TextDataset
) -> None:
    with pytest.raises(DataError, match="There is no data"):
        reference(tiny_model, tiny_data.select([]))
    with pytest.raises(SettingsError, match="batch_size"):
        reference(tiny_model, tiny_data, batch_size=0)
    three = TextDataset(("a", "b"), np.array([0, 2]), ("x", "y", "z"))
    with pytest.raises(DataError, match="does not fit the model"):
        reference(tiny_model, three)
    with pytest.raises(SettingsError, match=r"shape \(N, 2, 4\)"):
        reference(tiny_model, tiny_data).evaluate(np.ones((1, 4, 2), bool))
    tiny_model.model.half()
    with pytest.raises(ModelError, match="not float32"):
        reference(tiny_model, tiny_data)


def test_a_changed_model_is_refused(tiny_model: LoadedModel, tiny_data: TextDataset) -> None:
    evaluator = reference(tiny_model, tiny_data)
    evaluator.accuracy(np.ones((1, 2, 4), bool))
    with torch.no_grad():
        tiny_model.model.classifier.weight.add_(1)
    with pytest.raises(StateError, match="make a new evaluator"):
        evaluator.accuracy(np.ones((1, 2, 4), bool))
