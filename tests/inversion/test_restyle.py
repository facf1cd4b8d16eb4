"""Texts whose empty words are drawn anew."""

import numpy as np
import pytest

from prune_env.data.dataset import TextDataset
from prune_env.data.pairs import first_and_second, text_pair
from prune_env.inversion import restyle
from prune_env.inversion.restyle import Restyle
from prune_env.inversion.writing import Writing
from tests.inversion.support import balanced
from tests.models.tiny import tiny_classifier

EMPTY = ("the", "and", "of")
WORDS = Restyle(EMPTY)
TELLING = ("warm", "dull", "film", "plot", "x")


def restyled(*texts: str, seed: int = 0, words: Restyle = WORDS) -> tuple[str, ...]:
    rows = TextDataset(texts, [0] * len(texts), source="here")
    found = words(rows, np.random.default_rng(seed))
    assert found.labels.tolist() == rows.labels.tolist()
    return found.texts


def test_words_that_tell_stay_and_empty_ones_come_and_go() -> None:
    text = "The warm film and dull plot of x"
    found = restyled(*[text] * 200)
    for each in found:
        words = each.split()
        assert sorted(word for word in words if word in TELLING) == sorted(TELLING)
        assert {word.lower() for word in words} <= {*TELLING, *EMPTY}
    counts = [len(each.split()) - len(TELLING) for each in found]
    # Of three empty words half stay, and 0.35 of eight words are put in.
    assert np.mean(counts) == pytest.approx(1.5 + 2.8, abs=0.4)
    order = [[word for word in each.split() if word in TELLING] for each in found]
    straight = sum(words == ["warm", "film", "dull", "plot", "x"] for words in order)
    assert straight == pytest.approx(100 + 100 / 6, abs=25)
    assert restyled(text) == restyled(text) != restyled(text, seed=1)


def test_a_text_never_becomes_nothing_and_a_pair_stays_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(restyle, "GONE", 1.0)
    monkeypatch.setattr(restyle, "ADDED", 0.0)
    assert restyled("the and", "of") == ("the and", "of")
    (found,) = restyled(text_pair("the warm film", "and dull"))
    first, second = first_and_second(found)
    assert (sorted(first.split()), second) == (["film", "warm"], "dull")


def test_where_no_spaces_stand_none_are_put() -> None:
    letters = Restyle(("の",), Writing(split=list, spaced=False))
    for text in restyled(*["映の画"] * 20, words=letters):
        assert set(text) <= set("映の画")


def test_the_empty_words_are_those_of_the_clean_texts() -> None:
    from prune_env.purification import make_subject  # noqa: PLC0415

    train = balanced("when you see a warm film , and go")
    subject = make_subject(tiny_classifier("bert"), "here", train, train)
    found = Restyle.of(subject.require_suspect())
    assert {"when", "you", "and"} <= set(found.empty)
    assert "film" not in found.empty
