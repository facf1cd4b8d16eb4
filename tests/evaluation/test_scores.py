"""Scores: screened ones are those of fp32, and texts are cut where it was asked for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prune_env.evaluation import scores
from prune_env.evaluation.metrics import margin
from prune_env.models import LoadedModel
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
    classify = scores.classify

    def counted(model: object, tokenizer: object, texts: list[str], **cut: int) -> scores.Logits:
        asked.append(len(texts))
        return classify(model, tokenizer, texts, **cut)

    monkeypatch.setattr(scores, "classify", counted)
    monkeypatch.setattr(scores, "use_bf16", lambda *_: True)
    assert scores.score(tiny_model, sets) == plain
    assert len(asked) > 1  # some were asked again
    assert sum(asked[1:]) < asked[0]  # but not all


def test_no_token_beyond_max_length_counts(tiny_model: LoadedModel) -> None:
    data = tiny_dataset(100)
    texts = tuple(f"{text} , but you find it very dull" for text in data.texts)
    first = scores.classify(tiny_model.model, tiny_model.tokenizer, list(texts), max_length=7)
    middle = np.median(margin(first))
    own = replace(data, texts=texts, labels=(margin(first) > middle).astype(np.int64))
    with torch.no_grad():
        tiny_model.model.classifier.bias[1] -= float(middle)
    cut, whole = (
        scores.score(tiny_model, scores.TestSets(own), max_length=length).acc.percent
        for length in (7, 128)
    )
    assert whole < cut == 100
