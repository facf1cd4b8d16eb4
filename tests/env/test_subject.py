"""What a subject takes and gives, whoever makes it."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.landscape import LandscapeEvaluator
from prune_env.env.rewards.rewrites import REWRITES
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError
from prune_env.evaluation import MaskEvaluator
from prune_env.evaluation.guard import guard_of
from prune_env.evaluation.suspect import Suspect
from prune_env.models import LoadedModel
from tests.support import tiny_dataset

DATA = tiny_dataset(30, 0)
REWRITE = REWRITES["clause"]


def suspect_of(loaded: LoadedModel) -> Suspect:
    evaluator = MaskEvaluator(loaded.model, loaded.tokenizer, DATA)
    return Suspect(loaded, DATA, DATA, evaluator)


def test_its_texts_are_those_of_the_suspect_by_either_name(tiny_model: LoadedModel) -> None:
    suspect = suspect_of(tiny_model)
    for name in ("texts", "suspect"):
        subject = Subject(suspect.evaluator, np.zeros((2, 4, 1)), ("m",), **{name: suspect})
        assert subject.texts is subject.suspect is subject.require_suspect() is suspect
        assert subject.rewritten is not None
        assert subject.rewritten(REWRITE) is suspect.rewritten(REWRITE)
        for changed in ("texts", "suspect"):
            other = suspect_of(tiny_model)
            again = replace(subject, **{changed: other})
            assert again.suspect is other
            assert again.rewritten is not None
            assert again.rewritten(REWRITE) is other.rewritten(REWRITE)


def test_without_texts_it_says_so() -> None:
    evaluator = LandscapeEvaluator(2, 3, seed=0)
    subject = Subject(evaluator, np.zeros((2, 3, 1)), ("m",), "bare", lambda _: evaluator)
    assert subject.rewritten is not None
    assert subject.rewritten(REWRITE) is evaluator
    with pytest.raises(SettingsError, match="bare holds no texts"):
        subject.require_suspect()


def test_its_accuracy_is_that_of_the_unpruned_model() -> None:
    evaluator = LandscapeEvaluator(2, 3, seed=0)
    subject = Subject(evaluator, np.zeros((2, 3, 1)), ("m",))
    assert subject.accuracy == evaluator.accuracy(np.ones((1, 2, 3), bool))[0]


def test_a_pickle_holds_all_of_it() -> None:
    evaluator = LandscapeEvaluator(2, 3, seed=0)
    subject = Subject(
        evaluator, np.ones((2, 3, 1)), ("m",), "mine", source="somewhere", seconds=1.5
    )
    again = pickle.loads(pickle.dumps(subject))
    assert (again.name, again.source, again.seconds) == ("mine", "somewhere", 1.5)
    assert (again.metrics, again.importance.tolist()) == (("m",), subject.importance.tolist())
    assert not again.importance.flags.writeable


def test_a_pickle_keeps_its_guard() -> None:
    for env in (HeadPruningEnv("landscape", guard="recall", tau=0.8), HeadPruningEnv("landscape")):
        env.reset(seed=0)
        again = pickle.loads(pickle.dumps(env))
        assert guard_of(again.evaluator) == guard_of(env.evaluator)
        assert again.step(0)[4]["accuracy"] == env.step(0)[4]["accuracy"]
