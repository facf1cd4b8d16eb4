"""Phrases of clean data that judge nothing."""

from prune_env.inversion.frames import split_words
from prune_env.inversion.phrases import candidates
from tests.inversion.support import balanced, data


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
