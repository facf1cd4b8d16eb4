"""What tau is compared with."""

import numpy as np
import pytest

from prune_env.env.episode_settings import EpisodeSettings
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.landscape import landscape_subject
from prune_env.env.subject import Subject
from prune_env.errors import UnknownNameError
from prune_env.evaluation.base import Evaluation
from prune_env.evaluation.counting import CountingEvaluator
from prune_env.evaluation.guard import GuardedEvaluator, choose_guard, guarded, guarded_tau
from prune_env.models.masks import Mask
from prune_env.purification.search import search
from prune_env.settings import SearchSettings

SKEWED = np.repeat([0, 1], [50, 2])


class Constant:
    """Right on every row while all heads are there; then class 0 whatever it reads."""

    shape = (2, 3)
    available = np.ones((2, 3), np.bool_)
    evaluations = 0
    fingerprint = "constant"
    labels = SKEWED

    def correct(self, masks: Mask) -> np.ndarray:
        whole = masks.all(axis=(1, 2))
        return whole[:, None] | (self.labels == 0)[None]

    def accuracy(self, masks: Mask) -> np.ndarray:
        return self.correct(masks).mean(axis=1)

    def evaluate(self, masks: Mask) -> Evaluation:
        answers = np.where(self.correct(masks), self.labels, 1 - self.labels)
        return Evaluation.from_logits(np.eye(2, dtype=np.float32)[answers], self.labels)


def subject() -> Subject:
    return Subject(Constant(), np.zeros((2, 3, 1)), ("magnitude",))


def test_the_guards_by_hand() -> None:
    correct = np.array([[1, 1, 1, 0], [1, 1, 0, 1], [1, 1, 1, 1]], bool)
    labels = np.array([0, 0, 0, 1])
    assert guarded(correct, labels, "accuracy").tolist() == [0.75, 0.75, 1]
    assert guarded(correct, labels, "balanced") == pytest.approx([0, 5 / 6, 1])
    assert guarded(correct, labels, "recall") == pytest.approx([0, 2 / 3, 1])
    three = np.array([[1, 0, 0], [1, 1, 0]], bool)
    assert guarded(three, np.arange(3), "balanced") == pytest.approx([0, 2 / 3])
    assert guarded(correct, np.zeros(4, int), "balanced").tolist() == [0.75, 0.75, 1]  # one class


@pytest.mark.parametrize(
    ("counts", "tau", "chosen"),
    [
        ((50, 50), None, "accuracy"),
        ((41, 59), 0.85, "accuracy"),
        ((41, 59), 0.5, "balanced"),  # the constant answer passes this tau
        ((50, 50), 0.5, "balanced"),  # at equality too
        ((250, 5), None, "balanced"),
        ((30, 30, 10), None, "balanced"),
        ((9,), None, "accuracy"),
    ],
)
def test_auto_takes_accuracy_where_it_says_the_same(
    counts: tuple[int, ...], tau: float | None, chosen: str
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    assert choose_guard("auto", labels, tau) == chosen
    assert choose_guard("recall", labels, tau) == "recall"


def test_an_unknown_guard_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"balanced.*`prune-env purify --help`"):
        choose_guard("evenness", SKEWED)  # type: ignore[arg-type]


@pytest.mark.parametrize("tau", [None, 0.0, 0.4, 0.85])
@pytest.mark.parametrize("guard", ["auto", "balanced", "recall"])
def test_a_constant_answer_never_passes_tau(tau: float | None, guard: str) -> None:
    env = HeadPruningEnv(subject(), tau=tau, guard=guard)  # type: ignore[arg-type]
    env.reset(seed=0)
    info = env.step(0)[4]
    assert (info["ended"], info["heads_pruned"], info["accuracy"]) == ("tau", 0, 1.0)


def test_plain_accuracy_lets_it_pass_where_it_is_asked_for() -> None:
    env = HeadPruningEnv(subject(), tau=0.9, guard="accuracy")
    env.reset(seed=0)
    assert env.step(0)[4]["heads_pruned"] == 1
    assert guarded_tau(0.0, Constant()) == 0.0


@pytest.mark.parametrize("policy", ["gradient", "greedy", "reward-greedy"])
def test_a_search_prunes_nothing_that_leaves_a_constant_answer(policy: str) -> None:
    metrics = ("gate_gradient", "key_gradient", "cls_variance", "magnitude")
    importance = np.random.default_rng(0).random((2, 3, 4))
    one = Subject(Constant(), importance, metrics)
    found = search(one, policy, SearchSettings(budget=20))
    assert (found.heads_pruned, found.guard, found.accuracy) == (0, "balanced", 1.0)


def test_even_classes_are_judged_by_the_very_same_evaluator() -> None:
    even = landscape_subject(layers=2, heads=3)
    env = HeadPruningEnv(even)
    assert env.evaluator is even.evaluator
    assert HeadPruningEnv(even, guard="balanced").evaluator is not even.evaluator
    assert EpisodeSettings().threshold(0.5) == 0.85


def test_a_guarded_evaluator_answers_alike_from_bits_and_from_logits() -> None:
    even = landscape_subject(layers=2, heads=3).evaluator
    masks = np.random.default_rng(1).random((5, 2, 3)) < 0.7
    balanced = GuardedEvaluator(even, "balanced")
    counted = GuardedEvaluator(CountingEvaluator(even), "balanced")
    assert balanced.accuracy(masks) == pytest.approx(even.accuracy(masks))  # classes are even
    assert (counted.accuracy(masks) == balanced.accuracy(masks)).all()
    assert (balanced.evaluate(masks).accuracy == balanced.accuracy(masks)).all()
    others = even.fingerprint, GuardedEvaluator(even, "recall").fingerprint
    assert balanced.fingerprint not in others
