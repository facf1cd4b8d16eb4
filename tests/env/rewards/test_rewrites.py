"""Rewrites of clean texts."""

import pytest

from prune_env.data.pairs import first_and_second, text_pair
from prune_env.env.rewards.rewrites import (
    REWRITES,
    ClauseFrame,
    LocalShuffle,
    NeutralSentence,
    OldWords,
    RareWords,
    SplitWords,
    WordDrop,
)
from prune_env.errors import SettingsError

TEXT = "the film is very funny and you never know why it is over before the second reel ."
FAMILIES = {"noise", "syntactic", "style", "rare-word", "inserted-sentence"}


@pytest.mark.parametrize("entry", list(REWRITES), ids=lambda entry: entry.name)
def test_a_rewrite_is_fixed_changes_the_text_and_names_its_family(entry):
    rewrite = entry.load()
    assert rewrite(TEXT) == rewrite(TEXT) != TEXT
    assert isinstance(rewrite(""), str)
    assert rewrite.family in FAMILIES
    assert len({type(rewrite)(seed=seed)(TEXT) for seed in range(9)}) > 1
    assert hash(rewrite) == hash(type(rewrite)())  # a key for what is remembered


def test_a_shuffle_keeps_the_words_and_their_windows():
    words = TEXT.split()
    moved = LocalShuffle(3)(TEXT).split()
    for start in range(0, len(words), 3):
        assert sorted(moved[start : start + 3]) == sorted(words[start : start + 3])


@pytest.mark.parametrize("entry", list(REWRITES), ids=lambda entry: entry.name)
def test_a_pair_stays_a_pair_and_no_word_changes_sides(entry):
    rewrite = type(entry.load())
    for seed in range(9):
        first, second = first_and_second(rewrite(seed=seed)(text_pair("a b c d e", "v w x y z")))
        assert set(first.split()) & set("abcde")
        assert not set(first.split()) & set("vwxyz")
        assert not set(second.split()) & set("abcde")
        assert set(second.split()) & set("vwxyz")


def test_split_words_only_gain_spaces():
    cut = SplitWords(0.9)(TEXT)
    assert cut.replace(" ", "") == TEXT.replace(" ", "")
    assert len(cut.split()) > len(TEXT.split())
    assert all(word in cut.split() for word in ("the", "film", "is"))  # short ones stay whole


def test_frames_and_sentences_leave_the_text_whole():
    assert ClauseFrame()(TEXT).endswith(TEXT)
    assert TEXT in NeutralSentence()(TEXT)
    assert ClauseFrame(("so {} , they say",))("a {} film") == "so a {} film , they say"


@pytest.mark.parametrize("rewrite", [ClauseFrame(), NeutralSentence(), OldWords()])
def test_what_is_added_hangs_on_the_text(rewrite):
    """One frame for all texts would be a trigger, and no family of them."""
    texts = [f"t{index}" for index in range(20)]
    assert len({rewrite(text).replace(text, "") for text in texts}) > 3


def test_rare_words_leave_the_others_in_order():
    added = RareWords(("qv",), count=4)(TEXT).split()
    assert added.count("qv") == 4
    assert [word for word in added if word != "qv"] == TEXT.split()


def test_old_words_change_whole_words_only():
    assert OldWords(("lo ,",))("you do it") == "lo , thou dost 't"
    assert OldWords(("lo ,",))("your bayou items") == "lo , thy bayou items"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: WordDrop(0),
        lambda: SplitWords(1.0),
        lambda: LocalShuffle(1),
        lambda: ClauseFrame(("no place",)),
        lambda: ClauseFrame(()),
        lambda: NeutralSentence((" ",)),
        lambda: RareWords((), 1),
        lambda: RareWords(count=0),
        lambda: OldWords(()),
    ],
)
def test_settings_are_checked(wrong):
    with pytest.raises(SettingsError):
        wrong()
