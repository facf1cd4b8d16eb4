"""Backdoors that the defender plants in copies of the model."""

import numpy as np
import pytest
import torch

from prune_env.env.rewards.tried import surrogate
from prune_env.env.rewards.tried.surrogate import (
    SurrogateBackdoor,
    SurrogateButStyle,
    SurrogateButSyntactic,
)
from prune_env.env.subject import Subject
from prune_env.evaluation import MaskEvaluator
from prune_env.evaluation.suspect import Suspect
from prune_env.models import LoadedModel, load_classifier
from prune_env.settings import FineTuneSettings
from prune_env.training.fine_tuning import fine_tune
from tests.support import tiny_dataset

DATA = tiny_dataset(120)
FULL = np.ones((1, 2, 4), bool)
STRONG = FineTuneSettings(epochs=25, learning_rate=2e-3, batch_size=40, precision="fp32")


def subject_of(loaded: LoadedModel) -> Subject:
    evaluator = MaskEvaluator(loaded.model, loaded.tokenizer, DATA, precision="fp32")
    texts = Suspect(loaded, DATA, DATA, evaluator)
    return Subject(evaluator, np.zeros((2, 4, 1)), ("m",), texts=texts)


def test_half_of_the_other_class_is_rewritten_and_relabelled() -> None:
    for target in (0, 1):
        poisoned = SurrogateBackdoor()._poisoned(DATA, target, np.random.default_rng(0))
        changed = np.array(poisoned.texts) != np.array(DATA.texts)
        assert set(DATA.labels[changed]) == {1 - target}
        assert set(poisoned.labels[changed]) == {target}
        assert np.array_equal(poisoned.labels[~changed], DATA.labels[~changed])
        assert 20 <= changed.sum() <= 40


def test_a_family_that_is_left_out_is_neither_planted_nor_asked() -> None:
    families = {each.family for each in SurrogateBackdoor().triggers}
    assert families == {"syntactic", "inserted-sentence", "rare-word", "style"}
    assert {each.family for each in SurrogateButStyle().triggers} == families - {"style"}
    assert {each.family for each in SurrogateButSyntactic().triggers} == families - {"syntactic"}


def test_what_is_planted_costs_and_the_model_stays_clean(
    tiny_folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_classifier(tiny_folder)
    fine_tune(loaded.model, loaded.tokenizer, DATA, STRONG)
    weights = {name: value.clone() for name, value in loaded.model.state_dict().items()}

    def score(planting: FineTuneSettings) -> float:
        monkeypatch.setattr(surrogate, "PLANTING", planting)
        return float(SurrogateBackdoor().score(subject_of(loaded), FULL, np.ones(1))[0])

    hardly = FineTuneSettings(epochs=1, learning_rate=1e-9, precision="fp32")
    planted, clean = score(STRONG), score(hardly)
    assert planted < 0.3 < 0.6 < clean
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, weights[name])


def test_the_copies_are_made_once(tiny_folder, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subject_of(load_classifier(tiny_folder))
    first = SurrogateBackdoor().score(subject, FULL, np.ones(1))
    monkeypatch.setattr("prune_env.training.fine_tuning.fine_tune", None)
    assert SurrogateBackdoor().score(subject, FULL, np.ones(1)) == first
