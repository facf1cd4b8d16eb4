"""Scores: screened ones are those of fp32, and texts are cut where it was asked for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prune_env.data.dataset import TextDataset
from prune_env.errors import DataError
from prune_env.evaluation import scores
from prune_env.evaluation.metrics import (
    accuracy,
    calibrated_threshold,
    label_flip_rate,
    margin,
)
from prune_env.models import LoadedModel
from prune_env.models.forward import classify
from tests.support import tiny_dataset


@pytest.mark.parametrize("target", [0, 1])
def test_screening_in_bf16_changes_no_score(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch, target: int
) -> None:
    clean, triggered = tiny_dataset(300, 1), tiny_dataset(200, 2)
    triggered = triggered.where(1 - target)
    sets = scores.TestSets(clean, triggered, tiny_dataset(250, 3), target)
    # A head that hardly tells the classes apart puts many texts near the decision.
    with torch.no_grad():
        tiny_model.model.classifier.weight.mul_(0.05)
    monkeypatch.setattr(scores, "use_bf16", lambda *_: False)
    plain = scores.score(tiny_model, sets)
    asked: list[int] = []
    answer = scores.answer

    def counted(model: object, samples: scores.Rows, **how: str) -> scores.Logits:
        asked.append(len(samples))
        return answer(model, samples, **how)

    monkeypatch.setattr(scores, "answer", counted)
    monkeypatch.setattr(scores, "use_bf16", lambda *_: True)
    assert scores.score(tiny_model, sets) == plain
    assert len(asked) > 1  # some were asked again
    assert sum(asked[1:]) < asked[0]  # but not all


def test_no_token_beyond_max_length_counts(tiny_model: LoadedModel) -> None:
    data = tiny_dataset(100)
    texts = tuple(f"{text} , but you find it very dull" for text in data.texts)
    first = classify(tiny_model.model, tiny_model.tokenizer, list(texts), max_length=7)
    middle = np.median(margin(first))
    own = replace(data, texts=texts, labels=(margin(first) > middle).astype(np.int64))
    with torch.no_grad():
        tiny_model.model.classifier.bias[1] -= float(middle)
    cut, whole = (
        scores.measure(tiny_model, scores.TestSets(own), max_length=length) for length in (7, 128)
    )
    assert whole.scores.acc.percent < cut.scores.acc.percent == 100
    assert (cut.cut, whole.cut) == (100, 0)


def test_sets_with_their_labels_in_another_order_are_measured_alike(
    tiny_model: LoadedModel,
) -> None:
    clean, validation = tiny_dataset(60, 1), tiny_dataset(40, 2)
    triggered = clean.where(0)

    def turned(data: TextDataset) -> TextDataset:
        return replace(data, labels=1 - data.labels, label_names=("Positive", "negative "))

    plain = scores.score(tiny_model, scores.TestSets(clean, triggered, validation))
    other = scores.TestSets(clean, turned(triggered), turned(validation))
    assert scores.score(tiny_model, other) == plain


def test_a_set_of_other_classes_or_without_one_is_refused() -> None:
    clean = tiny_dataset(20)
    other = replace(clean, label_names=("sport", "world"), source="news.csv")
    with pytest.raises(DataError, match="has other classes"):
        scores.TestSets(clean, other.where(0))
    with pytest.raises(DataError, match="not every class has rows"):
        scores.TestSets(clean, None, clean.where(1))


def test_kept_scores_that_contradict_themselves_are_not_read() -> None:
    share = {"percent": 50.0, "low": 40.0, "high": 60.0, "count": 30, "total": 60}
    assert scores.Scores.from_json({"acc": share, "lfr": None}).acc.count == 30
    with pytest.raises(ValueError, match=r"12\.5 percent of 30 of 60"):
        scores.Scores.from_json({"acc": {**share, "percent": 12.5}})


def test_calibrated_figures_are_those_at_the_threshold_of_clean_validation_data(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scores, "use_bf16", lambda *_: False)
    clean, validation = tiny_dataset(60, 1), tiny_dataset(40, 2)
    triggered = clean.where(0)
    with torch.no_grad():
        tiny_model.model.classifier.bias[1] += 50.0
    found = scores.score(tiny_model, scores.TestSets(clean, triggered, validation))
    of_clean, of_triggered, of_validation = (
        classify(tiny_model.model, tiny_model.tokenizer, list(data.texts))
        for data in (clean, triggered, validation)
    )
    threshold = calibrated_threshold(of_validation, validation.labels)
    assert found.acc.percent == 50
    assert found.acc_calibrated == accuracy(of_clean, clean.labels, threshold=threshold)
    assert found.lfr is not None
    assert found.lfr.percent == 100
    assert found.lfr_calibrated == label_flip_rate(of_triggered, threshold=threshold)
    assert found.lfr_calibrated.percent < 100
