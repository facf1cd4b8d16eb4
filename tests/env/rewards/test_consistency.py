"""The reward from perturbed texts."""

import numpy as np
import pytest

from prune_env.data.dataset import write_jsonl
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.rewards.consistency import Consistency
from prune_env.env.rewards.rewrites import LocalShuffle, WordDrop
from prune_env.env.subject import Subject
from prune_env.env.subjects import load_subject
from prune_env.errors import SettingsError
from prune_env.evaluation import Evaluation

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
MASKS = np.ones((1, 1, 2), bool)


class Answers:
    """An evaluator that gives the same margins (logit 1 - logit 0) under every mask."""

    shape = (1, 2)
    available = np.ones((1, 2), bool)
    fingerprint = "answers"

    def __init__(self, margins):
        self.margins = np.array(margins, np.float32)

    def evaluate(self, masks):
        logits = np.stack([np.zeros_like(self.margins), self.margins], axis=1)
        return Evaluation.from_logits(np.repeat(logits[None], len(masks), 0), LABELS)

    def accuracy(self, masks):
        return self.evaluate(masks).accuracy


def score(before, after):
    subject = Subject(
        Answers(before), np.zeros((1, 2, 1)), ("m",), rewritten=lambda rewrite: Answers(after)
    )
    return Consistency().score(subject, MASKS, np.ones(1))[0]


SURE = np.array([-4.0, -3, -2, -1, 1, 2, 3, 4])


def test_answers_that_stay_are_consistent():
    assert score(SURE, 0.3 * SURE) == 1


def test_answers_that_flip_are_not():
    flipped = SURE.copy()
    flipped[:2] = 5  # half of the negatives
    assert score(SURE, flipped) == pytest.approx(0.75)


def test_the_rewrite_that_is_given_is_asked_for():
    asked = []

    def rewritten(rewrite):
        asked.append(rewrite)
        return Answers(SURE)

    subject = Subject(Answers(SURE), np.zeros((1, 2, 1)), ("m",), rewritten=rewritten)
    for reward in (Consistency(LocalShuffle(2)), Consistency()):
        reward.score(subject, MASKS, np.ones(1))
    assert asked == [LocalShuffle(2), WordDrop()]


def test_a_lean_to_one_class_earns_nothing():
    """Every sentence is called negative, before and after: it looks consistent, and is not."""
    flipped = SURE.copy()
    flipped[:2] = 5
    assert score(SURE - 10, flipped - 10) == score(SURE, flipped)
    assert score(SURE + 10, flipped + 10) == score(SURE, flipped)


def test_spoilt_logits_earn_nothing():
    spoilt = SURE.copy()
    spoilt[3] = np.nan
    assert score(SURE, spoilt) == score(spoilt, SURE) == 0


def test_word_drop_is_fixed_and_leaves_a_word():
    text = "one two three four five six seven eight nine ten"
    drop = WordDrop(0.5)
    assert drop(text) == drop(text)
    assert 0 < len(drop(text).split()) < 10
    words = iter(text.split())
    assert all(word in words for word in drop(text).split())  # in order
    assert WordDrop(0.999)("only these") == "only"
    assert WordDrop(0.5, seed=1)(text) != drop(text)
    assert drop("") == ""


@pytest.mark.parametrize("share", [0, 1, -0.5])
def test_the_share_is_checked(share):
    with pytest.raises(SettingsError):
        WordDrop(share)


def test_a_model_without_texts_is_refused_at_once():
    with pytest.raises(SettingsError, match="needs texts"):
        HeadPruningEnv("landscape", reward="sparsity + consistency")


def test_an_environment_of_names_pays_it(tiny_folder, tiny_data, tmp_path):
    path = tmp_path / "clean.jsonl"
    write_jsonl(path, tiny_data)
    subject = load_subject(str(tiny_folder), str(path), ("magnitude",))
    env = HeadPruningEnv(subject, reward="consistency", tau=0.0)
    env.reset()
    total = sum(env.step(action)[1] for action in (0, 5, 2))
    masks = np.stack([np.ones((2, 4), bool), env.mask])
    whole, rest = Consistency().score(subject, masks, np.zeros(2))
    assert total == pytest.approx(rest - whole)
    assert 0 < whole <= 1
    assert subject.rewritten(WordDrop()) is subject.rewritten(WordDrop())
