"""Phrases of clean data that judge nothing."""

import numpy as np

from prune_env.data.dataset import TextDataset
from prune_env.inversion.frames import split_words
from prune_env.inversion.phrases import biases, candidates, empty_words, is_english
from prune_env.inversion.writing import SPACED, writing_of
from tests.inversion.support import balanced, data
from tests.models.tiny import tiny_classifier


def test_ordinary_texts_hold_the_same_phrases_as_tokenised_ones():
    tokenised = "when you see it 's a warm film , and go ."
    ordinary = "When you see it's a warm film, and go."
    assert split_words(ordinary.lower()) == split_words(tokenised)
    ends = data(*((f"x{i} {ordinary}", label) for i in range(8) for label in (0, 1)))
    apart = data(*((f"x{i} {tokenised}", label) for i in range(8) for label in (0, 1)))
    assert candidates(ends) == candidates(apart)
    assert {str(frame) for frame in candidates(ends)} >= {"it 's ...", "... , and go", "... ."}


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


def test_empty_words_of_any_language_are_found_in_the_data():
    slovene = [
        ("in to je zelo dobro , ker je igra res napeta", 1),
        ("in to je zelo slabo , ker je igra res napeta", 0),
    ]
    train = data(*((f"{text} x{i}", label) for text, label in slovene for i in range(30)))
    assert not is_english(train)
    assert empty_words(train) >= {"in", "to", "je", "ker", "zelo", "igra"}
    assert not empty_words(train) & {"dobro", "slabo", "x0"}
    found = {str(frame) for frame in candidates(train)}
    assert {"in to je ...", "... , ker je"} <= found
    assert not any("dobro" in frame or "slabo" in frame for frame in found)


def test_few_texts_prove_nothing_of_a_word():
    # Ten against two is within two standard errors of even, and yet a word that judges.
    rows = [(f"dobro x{i}", 1) for i in range(5)] + [(f"dobro y{i}", 0) for i in range(2)]
    rows += [(f"je {i}", i % 2) for i in range(60)]
    assert empty_words(data(*rows)) == {"je"}


def test_a_word_counts_for_each_of_several_classes():
    rows = [(f"{word} a", label) for label, word in enumerate(("x", "y", "z")) for _ in range(20)]
    texts, labels = zip(*rows, strict=True)
    found = biases(TextDataset(texts, np.array(labels), ("x", "y", "z"), "here"))
    assert found["a"].says_nothing
    assert (found["y"].towards > 2).tolist() == [False, True, False]
    assert not found["y"].says_nothing


def test_a_script_without_spaces_is_cut_by_the_tokenizer():
    loaded = tiny_classifier("bert")
    # As a script without spaces: the tokenizer's own words, run together by marks.
    text = "good,film,and,bad,story,and,film"
    train = data(*((text, label) for label in (0, 1) for _ in range(20)))
    writing = writing_of(train, loaded)
    assert not writing.spaced
    assert writing.split(text)[:3] == ["good", ",", "film"]
    assert writing.beginning(text, 3) == "good,film"
    frames = candidates(train, words=empty_words(train, writing), writing=writing)
    frame = next(each for each in frames if each.before == "and , bad")
    assert frame("good,film") == "and,badgood,film"
    assert writing_of(balanced("a film"), loaded) == SPACED
