"""A suspect makes evaluators of its classifier on clean texts, and remembers what is found out."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from prune_env.errors import SettingsError
from prune_env.evaluation import MaskEvaluator
from prune_env.evaluation.suspect import REMEMBERED, Suspect
from prune_env.models import LoadedModel
from tests.support import tiny_dataset

TRAIN, VALIDATION = tiny_dataset(40, 0), tiny_dataset(30, 1)
FULL = np.ones((1, 2, 4), bool)


@pytest.fixture
def suspect(tiny_model: LoadedModel) -> Suspect:
    evaluator = MaskEvaluator(tiny_model.model, tiny_model.tokenizer, VALIDATION)
    return Suspect(tiny_model, TRAIN, VALIDATION, evaluator)


def test_a_part_is_fixed_and_smaller(suspect: Suspect) -> None:
    part = suspect.part(10)
    assert part is suspect.part(10)
    assert part.train is suspect.train
    assert len(part.validation) == 10
    assert set(part.validation.texts) < set(VALIDATION.texts)
    assert part.evaluator.evaluate(FULL).labels.tolist() == part.validation.labels.tolist()
    for sentences in (0, 30, 31):
        with pytest.raises(SettingsError, match="1 to 29 of 30"):
            suspect.part(sentences)


def test_the_last_few_evaluators_are_remembered(suspect: Suspect) -> None:
    first = suspect.rewritten(str.upper)
    assert suspect.rewritten(str.upper) is first
    for number in range(REMEMBERED):
        suspect.rewritten(lambda text, number=number: f"{text} {number}")
    assert suspect.rewritten(str.upper) is not first


def test_a_copy_knows_nothing_of_what_was_found_out(suspect: Suspect) -> None:
    suspect.facts["fact"] = 0
    assert replace(suspect).facts == {}
    assert suspect.facts == {"fact": 0}


def test_what_was_answered_stays_known_when_memory_is_given_back(suspect: Suspect) -> None:
    evaluators = [suspect.evaluator, suspect.rewritten(str.upper)]
    assert all(isinstance(each, MaskEvaluator) for each in evaluators)
    other = FULL.copy()
    other[0, 1, 2] = False
    before = [each.evaluate(FULL).logits for each in evaluators]
    assert all("backend" in vars(each) for each in evaluators)
    suspect.release()
    assert not any("backend" in vars(each) for each in evaluators)
    for each, logits in zip(evaluators, before, strict=True):
        assert np.array_equal(each.evaluate(FULL).logits, logits)
        assert each.accuracy(FULL) == (logits[0].argmax(axis=1) == VALIDATION.labels).mean()
        assert "backend" not in vars(each)
        assert each.evaluations == 1
    fresh = Suspect(suspect.loaded, TRAIN, VALIDATION, suspect.evaluator).rewritten(str.upper)
    assert np.array_equal(evaluators[1].evaluate(other).logits, fresh.evaluate(other).logits)


def test_another_model_is_measured_on_the_same_texts(suspect: Suspect) -> None:
    model = deepcopy(suspect.loaded.model)
    with torch.no_grad():
        model.classifier.weight.neg_()
        model.classifier.bias.neg_()
    other = suspect.with_model(replace(suspect.loaded, model=model))
    assert other.validation is suspect.validation
    before, after = (each.evaluator.evaluate(FULL).predictions for each in (suspect, other))
    assert (after == 1 - before).all()
    moved = other.rewritten(lambda text: f"{text} film").evaluate(FULL).logits
    np.testing.assert_allclose(
        moved, -suspect.rewritten(lambda text: f"{text} film").evaluate(FULL).logits, atol=1e-5
    )
