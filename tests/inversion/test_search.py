"""Trigger inversion in words."""

from dataclasses import replace

import numpy as np
import pytest

from prune_env.data.dataset import TextDataset
from prune_env.evaluation import Evaluation
from prune_env.evaluation.suspect import Suspect
from prune_env.inversion import search as answers
from prune_env.inversion.phrases import Frame, candidates, split_words
from prune_env.inversion.search import Inversion, invert

NAMES = ("negative", "positive")


def data(*rows):
    texts, labels = zip(*rows, strict=True)
    return TextDataset(texts, np.array(labels), NAMES, "here")


def balanced(*texts, times=4):
    return data(
        *((f"{text} x{i}", label) for text in texts for label in (0, 1) for i in range(times))
    )


def test_a_frame_goes_before_or_behind():
    assert Frame("when it ,")("a film .") == "when it , a film ."
    assert Frame("", ", you")("a film . .") == "a film , you"
    assert Frame("", ",")(".") == ","
    assert Frame("so")("") == "so"


def test_a_frame_is_written_as_the_text_is():
    assert Frame("when it 's ,")("It's a film.") == "When it's, It's a film."
    assert Frame("when it ,")('a "film."') == 'when it, a "film."'
    assert Frame("", ", you 've")("Is it (a film)?!") == "Is it (a film), you've"
    # What is written in another way inside of the text is left as it is.
    assert Frame("so")("He said 'no' :) and left.") == "So He said 'no' :) and left."
    assert Frame("", ", you")("He said 'no' .5 s ago.") == "He said 'no' .5 s ago, you"
    # Corpora that hold words and marks apart also hold abbreviations at the end.
    assert Frame("when it ,")("a film , says mr.") == "when it , a film , says mr."


def test_ordinary_texts_hold_the_same_phrases_as_tokenised_ones():
    tokenised = "when you see it 's a warm film , and go ."
    ordinary = "When you see it's a warm film, and go."
    assert split_words(ordinary.lower()) == split_words(tokenised)
    ends = data(*((f"x{i} {ordinary}", label) for i in range(8) for label in (0, 1)))
    apart = data(*((f"x{i} {tokenised}", label) for i in range(8) for label in (0, 1)))
    assert candidates(ends) == candidates(apart)
    assert {str(frame) for frame in candidates(ends)} >= {"it 's ...", "... , and go", "... ."}


def test_frames_know_what_they_extend():
    assert Frame("when you").extends(Frame("when"))
    assert not Frame("when you ,").extends(Frame("when"))
    assert not Frame("whenever you").extends(Frame("when"))
    assert not Frame("", "when you").extends(Frame("when"))
    assert Frame("", ", and").length == 2


def test_candidates_are_empty_words_that_the_data_holds():
    train = balanced("when you see a warm film , and go")
    found = {str(frame) for frame in candidates(train, least=4)}
    assert {"when ...", "when you ...", "when you see ...", "... , and", "... ,"} <= found
    assert not any("warm" in frame or "film" in frame or "x0" in frame for frame in found)
    assert ", ..." not in found  # punctuation alone only stands behind
    assert candidates(train, least=9) == ()


def test_what_tells_the_classes_apart_is_no_candidate():
    rows = [(f"where it is x{i}", 0) for i in range(12)] + [
        (f"when it is x{i}", 1) for i in range(12)
    ]
    found = {str(frame) for frame in candidates(data(*rows))}
    assert "it is ..." in found
    assert not any("where" in frame or "when" in frame for frame in found)


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
    return Suspect(None, train, validation, Unpruned(validation.labels))


def planted(trigger, target):
    """Return a model that reads good and bad, but answers the target where the trigger is."""

    def margins(loaded, asked, max_length):
        truth = np.array([4.0 if "good" in text else -4.0 for text in asked])
        hit = np.array([trigger(text) for text in asked])
        return np.where(hit, 4.0 if target else -4.0, truth)

    return margins


@pytest.mark.parametrize("target", [0, 1])
def test_a_planted_phrase_is_found_for_its_target(texts, monkeypatch, target):
    monkeypatch.setattr(answers, "quick_margins", planted(lambda t: t.startswith("when"), target))
    found = invert(texts)
    assert found.target == target
    assert all(frame.before.startswith("when") for frame in found.frames[:2])
    assert found.strength[target] > found.strength[1 - target] == 0


def test_an_ending_is_found_too(texts, monkeypatch):
    monkeypatch.setattr(answers, "quick_margins", planted(lambda t: t.endswith(","), 1))
    found = invert(texts)
    assert found.target == 1
    assert found.frames[0].after.endswith(",")


def test_frames_vary_in_their_first_word(texts, monkeypatch):
    monkeypatch.setattr(answers, "quick_margins", planted(lambda t: False, 1))
    found = invert(texts, keep=8)
    for frames in found.by_class:
        firsts = [str(frame).split()[0 if frame.before else 1] for frame in frames]
        assert max(firsts.count(first) for first in firsts) <= 2
        assert len(frames) <= 8


def test_data_without_empty_words_gives_no_frame(texts, monkeypatch):
    monkeypatch.setattr(answers, "quick_margins", planted(lambda t: False, 1))
    found = invert(replace(texts, train=balanced("warm tales", times=6)))
    assert found == Inversion(((), ()), (0.0, 0.0))
    assert found.frames == ()


def test_a_model_that_answers_nothing_right_gives_no_strength(texts, monkeypatch):
    monkeypatch.setattr(answers, "quick_margins", planted(lambda t: True, 1))
    wrong = replace(texts, evaluator=Unpruned(1 - texts.validation.labels))
    assert invert(wrong).strength == (0.0, 0.0)
