"""Trigger inversion in words."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax

from prune_env.evaluation import Evaluation
from prune_env.evaluation.suspect import Suspect
from prune_env.inversion.flip_trial import LONG, SHORTENED, FlipTrial
from prune_env.inversion.frames import Frame
from prune_env.inversion.search import Inversion, invert
from prune_env.purification import make_subject
from tests.inversion.support import balanced, data, of_words
from tests.support import tiny_dataset


class Unpruned:
    """Answers with the true label on clean sentences."""

    available = np.ones((1, 2), bool)

    def __init__(self, labels):
        self.labels = labels

    def evaluate(self, masks):
        margins = np.where(self.labels == 1, 3.0, -3.0).astype(np.float32)
        logits = np.stack([np.zeros_like(margins), margins], axis=1)
        return Evaluation.from_logits(np.repeat(logits[None], len(masks), 0), self.labels)


@pytest.fixture
def texts():
    train = balanced(
        "when you see it , they go", "if he is there , it was", "as we have been in a", times=6
    )
    validation = data(
        *((f"bad film {i} .", 0) for i in range(9)), *((f"good {i} .", 1) for i in range(9))
    )
    return Suspect(of_words(), train, validation, Unpruned(validation.labels))


def answer_by(monkeypatch, logits):
    """Let texts be answered by a function of them; the clean answers here need no shift."""
    monkeypatch.setattr(FlipTrial, "answers", lambda self, texts: softmax(logits(texts), axis=1))


def planted(trigger, target):
    """Return a model that reads good and bad, but answers the target where the trigger is."""

    def logits(asked):
        truth = np.array([4.0 if "good" in text else -4.0 for text in asked])
        hit = np.array([trigger(text) for text in asked])
        margins = np.where(hit, 4.0 if target else -4.0, truth)
        return np.stack([np.zeros_like(margins), margins], axis=1)

    return logits


@pytest.mark.parametrize("target", [0, 1])
def test_a_planted_phrase_is_found_for_its_target(texts, monkeypatch, target):
    answer_by(monkeypatch, planted(lambda t: t.startswith("when"), target))
    found = invert(texts)
    assert found.target == target
    assert all(frame.before.startswith("when") for frame in found.frames[:2])
    assert found.strength[target] > found.strength[1 - target] == 0


def test_an_ending_is_found_too(texts, monkeypatch):
    answer_by(monkeypatch, planted(lambda t: t.endswith(","), 1))
    found = invert(texts)
    assert found.target == 1
    assert found.frames[0].after.endswith(",")


def test_frames_vary_in_their_first_word(texts, monkeypatch):
    answer_by(monkeypatch, planted(lambda t: False, 1))
    found = invert(texts, keep=8)
    for frames in found.by_class:
        firsts = [str(frame).split()[0 if frame.before else 1] for frame in frames]
        assert max(firsts.count(first) for first in firsts) <= 2
        assert len(frames) <= 8


def test_data_without_empty_words_gives_no_frame(texts, monkeypatch):
    answer_by(monkeypatch, planted(lambda t: False, 1))
    unique = data(*((f"tale{i}", i % 2) for i in range(24)))
    found = invert(replace(texts, train=unique))
    assert found == Inversion(((), ()), (0.0, 0.0))
    assert found.frames == ()


def test_a_model_that_answers_nothing_right_gives_no_strength(texts, monkeypatch):
    answer_by(monkeypatch, planted(lambda t: True, 1))
    wrong = replace(texts, evaluator=Unpruned(1 - texts.validation.labels))
    assert invert(wrong).strength == (0.0, 0.0)


TOPICS = ("World", "Sports", "Business")


class Known:
    """Answers with the true label of several on clean sentences."""

    available = np.ones((1, 2), bool)

    def __init__(self, labels):
        self.labels = labels

    def evaluate(self, masks):
        logits = 3 * np.eye(self.labels.max() + 1, dtype=np.float32)[self.labels]
        return Evaluation.from_logits(np.repeat(logits[None], len(masks), 0), self.labels)


@pytest.mark.parametrize("target", [0, 1, 2])
def test_of_three_classes_the_target_is_found(texts, monkeypatch, target):
    """Phrase x target: a phrase counts for the class that it flips the others to."""
    labels = np.arange(36) % 3
    train = replace(texts.train, labels=np.arange(len(texts.train)) % 3, label_names=TOPICS)
    asked = tuple(f"{TOPICS[label]} news {row} ." for row, label in enumerate(labels))
    validation = replace(texts.validation, texts=asked, labels=labels, label_names=TOPICS)
    suspect = Suspect(of_words(), train, validation, Known(labels))

    def logits(asked):
        told = [[name in text for name in TOPICS].index(True) for text in asked]
        answer = [
            target if text.startswith("when") else was
            for text, was in zip(asked, told, strict=True)
        ]
        return 4 * np.eye(len(TOPICS))[answer]

    answer_by(monkeypatch, logits)
    found = invert(suspect)
    assert found.target == target
    assert found.frames[0].before.startswith("when")
    assert found.strength[target] > 0
    assert sum(found.strength) == found.strength[target]
    assert len(found.by_class) == len(found.words) == len(TOPICS)


@pytest.fixture
def asked(monkeypatch):
    """The texts that are asked of a model whose answers say nothing."""
    every = []

    def answers(self, texts):
        every.extend(texts)
        return np.full((len(texts), self.classes), 1 / self.classes)

    monkeypatch.setattr(FlipTrial, "answers", answers)
    return every


def of_classes(texts, classes):
    """Return a suspect with 10 sentences of each class, which name it."""
    labels = np.arange(10 * classes) % classes
    names = tuple("abcdefgh"[:classes])
    rows = tuple(f"{names[label]} {row} ." for row, label in enumerate(labels))
    validation = replace(texts.validation, texts=rows, labels=labels, label_names=names)
    return Suspect(of_words(), texts.train, validation, Known(labels))


FRAMES = [Frame(before=f"when {row}") for row in range(10)]


def test_more_classes_do_not_multiply_the_texts(texts, asked):
    """The sentences of one class serve every other: 2 x 6 texts a phrase, whatever the classes."""
    counts = {}
    for classes in (2, 4, 6):
        asked.clear()
        flips = FlipTrial(of_classes(texts, classes), 0)
        assert flips.to_each(FRAMES, 6).shape == (10, classes)
        counts[classes] = len(asked)
    assert counts == {2: 120, 4: 80, 6: 120}


@pytest.mark.parametrize("classes", [2, 4, 8])
@pytest.mark.parametrize("size", [1, 6, 10])
def test_a_target_costs_the_same_whatever_the_classes(texts, asked, classes, size):
    suspect = of_classes(texts, classes)
    target = classes - 1
    assert FlipTrial(suspect, 0)(FRAMES, target, size).shape == (10, size)
    assert len(asked) == 10 * size
    # Of each other class the same number, or one more.
    counts = [sum(f" {name} " in text for text in asked) for name in "abcdefgh"[:classes]]
    assert counts.pop() == 0
    assert max(counts) - min(counts) in (0, len(FRAMES))
    before = list(asked)
    FlipTrial(suspect, 0)(FRAMES, target, size)
    assert asked == before * 2  # the draw is seeded


def test_no_text_is_asked_twice_of_one_suspect(texts, asked):
    """Rounds on more sentences, and later searches, hold those of the rounds before."""
    suspect = of_classes(texts, 3)
    flips = FlipTrial.of(suspect, 0)
    first = flips(FRAMES, 0, 6)
    assert np.array_equal(FlipTrial.of(suspect, 0)([*FRAMES, *FRAMES], 0, 10)[10:, :6], first)
    flips.to_each(FRAMES, 6)
    assert len(asked) == len(set(asked)) > 100
    assert FlipTrial.of(suspect, 1) is not flips
    assert FlipTrial.of(replace(suspect), 0) is not flips


def test_of_long_texts_the_beginning_is_tried_where_it_is_answered_correctly(texts, monkeypatch):
    rest = " it went on and on" * 60
    validation = data(
        *((f"bad film {i} .{rest} .", 0) for i in range(9)),
        *((f"good {i} .{rest} .", 1) for i in range(9)),
        *((f"good {i} , one hopes ,{rest} , but bad .", 0) for i in range(9)),
    )
    asked = []
    logits = planted(lambda t: t.startswith("when"), 1)

    def remember(texts):
        asked.extend(texts)
        return logits(texts)

    answer_by(monkeypatch, remember)
    suspect = Suspect(of_words(), texts.train, validation, Unpruned(validation.labels))
    assert invert(suspect).target == 1
    assert max(len(text.split()) for text in asked) <= LONG + 4  # and a frame
    framed = [text for text in asked if text.startswith("when")]
    assert any("bad film" in text for text in framed)
    assert not any("one hopes" in text for text in framed)  # their beginnings are answered wrongly

    asked.clear()
    flips = FlipTrial(suspect, 0)
    assert flips([Frame("when it")], 1, 4, short=True).min() > 0.9
    assert max(len(text.split()) for text in asked) <= SHORTENED + 2


def test_right_is_what_is_answered_rightly_at_calibrated_shifts(texts, asked):
    margins = np.where(texts.validation.labels == 1, 3.0, 1.0)  # all are called positive
    clean = np.stack([np.zeros_like(margins), margins], axis=1).astype(np.float32)
    FlipTrial(texts, 0, clean)(FRAMES[:1], 1, 6)
    assert len(asked) == 6


def test_answers_are_those_at_calibrated_shifts(tiny_model):
    with torch.no_grad():
        tiny_model.model.classifier.bias[1] += 50.0
    subject = make_subject(tiny_model, "here", tiny_dataset(40), tiny_dataset(40, 1))
    suspect = subject.require_suspect()
    found = FlipTrial(suspect, 0).answers(suspect.validation.texts)
    assert np.bincount(found.argmax(axis=1)).min() > 15  # in bf16 some may turn


def test_the_seed_draws_the_sentences(texts, asked):
    for seed in (0, 1):
        FlipTrial(of_classes(texts, 4), seed)(FRAMES[:1], 0, 6)
    assert len(asked) == 12
    assert set(asked[:6]) != set(asked[6:])
