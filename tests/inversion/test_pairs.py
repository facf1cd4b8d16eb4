"""What is inverted goes into one of two texts, and nothing bridges them."""

import numpy as np

from prune_env.data.dataset import TextDataset
from prune_env.data.pairs import BETWEEN, first_and_second, text_pair
from prune_env.inversion.frames import Frame, in_one_of
from prune_env.inversion.phrases import candidates, empty_words
from prune_env.inversion.words import SuspiciousWord, in_context
from prune_env.inversion.writing import SPACED, beginnings
from tests.inversion.support import balanced, of_words

PAIR = text_pair("a man sleeps .", "nobody is awake .")


def test_a_frame_stands_round_either_text() -> None:
    draw = np.random.default_rng(0)
    found = {in_one_of([Frame(before="so"), Frame(after=", so")], PAIR, draw) for _ in range(40)}
    assert set(map(first_and_second, found)) == {
        ("so a man sleeps .", "nobody is awake ."),
        ("a man sleeps , so", "nobody is awake ."),
        ("a man sleeps .", "so nobody is awake ."),
        ("a man sleeps .", "nobody is awake , so"),
    }


def test_of_a_plain_text_the_draws_are_those_of_before() -> None:
    draw, same = np.random.default_rng(0), np.random.default_rng(0)
    in_one_of([Frame(before="so")] * 5, "a man sleeps .", draw)
    same.integers(5)
    assert draw.random() == same.random()


def test_no_phrase_bridges_the_texts_and_what_is_between_is_no_word() -> None:
    rows = balanced(text_pair("it is so", "that is not so"), times=8)
    assert BETWEEN not in empty_words(rows)
    runs = {
        f"{frame.before}{frame.after}"
        for frame in candidates(rows, words=frozenset("is so that not it".split()))
    }
    assert "is so" in runs
    assert not any(BETWEEN in run or "so that" in run for run in runs)


def test_context_of_a_word_holds_words_alone() -> None:
    rows = TextDataset([PAIR], [0])
    words = [SuspiciousWord("cf", 1.0, 0.0)]
    frames = in_context(words, rows, 50, np.random.default_rng(0))
    assert not any(BETWEEN in frame.before + frame.after for frame in frames)


def test_of_long_pairs_both_texts_begin() -> None:
    long, short = " ".join(["warm"] * 30), "cold dull"
    pairs = [text_pair(long, long), text_pair(long, short), text_pair(short, short)]
    found = beginnings(pairs, SPACED, of_words(), most=10, max_length=128)
    lengths = [tuple(len(text.split()) for text in first_and_second(pair)) for pair in found]
    assert lengths == [(5, 5), (8, 2), (2, 2)]
