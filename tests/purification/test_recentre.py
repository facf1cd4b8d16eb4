"""The preference for some classes is taken out of the last bias, or weights."""

import numpy as np
import pytest
import torch

from prune_env.data.dataset import TextDataset
from prune_env.models import LoadedModel, forward
from prune_env.models.architectures import CAUSAL
from prune_env.purification.judge import Judge
from prune_env.purification.recentre import recentre
from tests.models.tiny import tiny_classifier
from tests.support import tiny_dataset

VALIDATION = tiny_dataset(60, 1)
THREE = TextDataset(VALIDATION.texts, np.arange(len(VALIDATION)) % 3, ("a", "b", "c"), "here")


def answers(loaded: LoadedModel, data: TextDataset) -> list[int]:
    logits = forward.classify(loaded.model, loaded.tokenizer, list(data.texts))
    return np.bincount(logits.argmax(axis=1), minlength=len(data.label_names)).tolist()


@pytest.mark.parametrize("data", [VALIDATION, THREE], ids=["2 classes", "3 classes"])
def test_the_bias_is_taken_out(data: TextDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNE_ENV_PRECISION", "fp32")
    classes = len(data.label_names)
    names = dict(enumerate(data.label_names))
    loaded = tiny_classifier("bert", num_labels=classes, id2label=names, label2id={})
    with torch.no_grad():
        loaded.model.classifier.bias[1] += 50.0
    assert answers(loaded, data)[1] == len(data)
    judge = Judge(loaded, data, 128)
    before = judge.logits()
    after = recentre(loaded, judge)
    np.testing.assert_allclose(after, judge.logits(), atol=1e-4)  # not asked again, yet known
    shifts = judge.shifts(before)
    np.testing.assert_allclose(before - after, np.broadcast_to(shifts, before.shape), atol=1e-4)
    assert shifts.sum() == pytest.approx(0, abs=1e-6)
    assert shifts.argmax() == 1
    assert answers(loaded, data) == list(data.counts.values())


@pytest.mark.parametrize("model_type", sorted(CAUSAL))
def test_without_a_bias_the_last_weights_change(
    model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNE_ENV_PRECISION", "fp32")
    loaded = tiny_classifier(model_type)
    head = loaded.model.score
    assert head.bias is None
    texts, others = VALIDATION, tiny_dataset(60, 2)
    judge = Judge(loaded, texts, 128)
    mean = torch.from_numpy(judge.vectors().mean(axis=0))
    with torch.no_grad():
        head.weight[1] += 3 * mean / (mean @ mean)
    before, elsewhere = judge.logits(), Judge(loaded, others, 128).logits()
    shifts = judge.shifts(before)
    assert shifts[1] > 0.5
    weights = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    after = recentre(loaded, judge)
    np.testing.assert_array_equal(after, judge.logits())
    np.testing.assert_allclose((before - after).mean(axis=0), shifts, atol=0.05)
    moved = elsewhere - Judge(loaded, others, 128).logits()
    np.testing.assert_allclose(moved.mean(axis=0), shifts, atol=0.2 * shifts[1])
    changed = loaded.model.state_dict()
    assert {n for n, old in weights.items() if not torch.equal(old, changed[n])} == {"score.weight"}


def test_a_head_that_reads_something_else_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny_classifier("gpt2")
    judge = Judge(loaded, VALIDATION, 128)
    with torch.no_grad():
        mean = torch.from_numpy(judge.vectors().mean(axis=0))
        loaded.model.score.weight[1] += 3 * mean / (mean @ mean)
    monkeypatch.setattr(Judge, "vectors", lambda self: np.ones((len(VALIDATION), 8), np.float32))
    before = judge.logits()
    assert judge.shifts(before).any()
    assert np.array_equal(recentre(loaded, judge), before)
    assert np.array_equal(judge.logits(), before)


def test_few_rows_must_show_a_preference_before_it_is_taken_out() -> None:
    labels = np.arange(100) % 2
    few = TextDataset(tuple(f"text {row}" for row in range(100)), labels, ("a", "b"), "here")
    logits = np.where(np.eye(2)[labels] == 1, 4.0, 0.0).astype(np.float32)
    logits[labels == 0, 0] = np.linspace(1, 3, 50)
    judge = Judge(tiny_classifier("bert"), few, 128)
    assert not judge.shifts(logits).any()  # all right: between two margins any shift would do
    logits[:6:2] = logits[1]
    assert not judge.shifts(logits).any()  # three in favour of "b", as chance may have it
    logits[:20:2] = logits[1]
    assert judge.shifts(logits)[1] > judge.shifts(logits)[0]
    many = TextDataset(few.texts * 5, np.tile(labels, 5), few.label_names, "here")
    logits[:20:2] = np.array([2.0, 0.0], np.float32)
    assert Judge(tiny_classifier("bert"), many, 128).shifts(np.tile(logits, (5, 1))).any()


def test_of_several_classes_each_is_a_trial_of_its_own() -> None:
    labels = np.arange(90) % 3
    few = TextDataset(tuple(f"text {row}" for row in range(90)), labels, ("a", "b", "c"), "here")
    judge = Judge(tiny_classifier("bert"), few, 128)
    logits = 4 * np.eye(3, dtype=np.float32)[labels]
    logits[:18:3] = logits[1]  # six of "a" are called "b": p = 0.03, but of three classes
    assert not judge.shifts(logits).any()
    logits[:24:3] = logits[1]  # eight: p = 0.008
    assert judge.shifts(logits).any()
