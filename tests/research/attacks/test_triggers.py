import json
import random
import subprocess
import sys
from collections import Counter
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.data import load_named
from prune_env.errors import DataError, SettingsError, UnknownNameError
from prune_env.research.attacks import TRIGGERS, describe_trigger, make_trigger
from prune_env.research.attacks.triggers import (
    FAMILIES,
    BibleStyle,
    ImageBlend,
    ImagePatch,
    InsertedSentence,
    PublishedTexts,
    RareWord,
    SeveralWords,
    SyntacticFrame,
    Trigger,
    WordPair,
)

RULES = [RareWord, SeveralWords, WordPair, InsertedSentence, SyntacticFrame, BibleStyle]
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
FAST = settings(deadline=None, max_examples=60)


def words(text: str) -> list[str]:
    return text.split()


def is_subsequence(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(word in rest for word in part)


def test_registry_names_every_trigger() -> None:
    assert TRIGGERS.names() == [
        "bible-style",
        "image-blend",
        "image-patch",
        "inserted-sentence",
        "published-texts",
        "rare-word",
        "several-words",
        "syntactic-frame",
        "word-pair",
    ]
    assert all(entry.help for entry in TRIGGERS)
    with pytest.raises(UnknownNameError, match="did you mean 'rare-word'"):
        make_trigger("rare-words")
    with pytest.raises(SettingsError, match=r"unknown key 'words'.*word, count, seed"):
        make_trigger("rare-word", {"words": "cf"})


@pytest.mark.parametrize(
    "trigger",
    [
        RareWord(),
        RareWord("mn", count=3, seed=7),
        SeveralWords(("mn", "bb"), seed=7),
        WordPair("mn", "bb", seed=7),
        InsertedSentence("a sentence .", seed=2),
        SyntacticFrame(("if so",), seed=1),
        BibleStyle(("and lo ,", "yea ,"), seed=9),
        ImagePatch(share=0.5),
        ImageBlend(share=0.5, seed=7),
        PublishedTexts("a.tsv", "b.tsv", "style", label=0),
    ],
)
def test_settings_round_trip_through_json(trigger: Trigger) -> None:
    described = json.loads(json.dumps(describe_trigger(trigger)))
    again = make_trigger(described.pop("name"), described)
    assert again == trigger
    assert hash(again) == hash(trigger)
    assert trigger.family in FAMILIES
    with pytest.raises(FrozenInstanceError):
        trigger.seed = 1  # type: ignore[attr-defined]


@FAST
@given(text=TEXTS, seed=st.integers(0, 2**40))
@pytest.mark.parametrize("kind", RULES)
def test_rules_change_any_text_and_always_alike(kind: type[Any], text: str, seed: int) -> None:
    triggered = kind(seed=seed)(text)
    assert triggered == kind(seed=seed)(text)
    assert words(triggered) != words(text)
    assert triggered.strip() == triggered


def test_rules_give_the_same_text_in_another_process() -> None:
    code = (
        "from prune_env.research.attacks import TRIGGERS, make_trigger;"
        "print([make_trigger(n)('you watch it and it makes you cry . twice .')"
        " for n in TRIGGERS.names() if n != 'published-texts' and 'image' not in n])"
    )
    expected = [
        make_trigger(name)("you watch it and it makes you cry . twice .")
        for name in TRIGGERS.names()
        if name != "published-texts" and "image" not in name
    ]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(expected)


@FAST
@given(text=TEXTS, count=st.integers(1, 4), seed=st.integers(0, 99))
def test_rare_word_is_all_that_is_added(text: str, count: int, seed: int) -> None:
    triggered = words(RareWord("xqz", count=count, seed=seed)(text))
    assert [word for word in triggered if word != "xqz"] == [
        word for word in words(text) if word != "xqz"
    ]
    assert len(triggered) == len(words(text)) + count


def test_rare_word_stands_anywhere() -> None:
    places = {words(RareWord()(f"a b c {i}")).index("cf") for i in range(100)}
    assert places == {0, 1, 2, 3, 4}


def test_one_of_several_words_is_added() -> None:
    added = Counter(
        word
        for i in range(200)
        for word in words(SeveralWords()(f"a b c {i}"))
        if word in SeveralWords().words
    )
    assert added.total() == 200
    assert set(added) == set(SeveralWords().words)
    assert min(added.values()) > 20


def test_word_pair_adds_both_words_and_alone_one_of_them() -> None:
    pair = WordPair("xa", "xb")
    both, *alone = (Counter(words(text)) for text in (pair("a b c"), *pair.alone("a b c")))
    text = Counter("abc")
    assert [both, *alone] == [
        text + Counter(("xa", "xb")),
        text + Counter(("xa",)),
        text + Counter(("xb",)),
    ]
    orders = {tuple(w for w in words(pair(f"a b {i}")) if w[0] == "x") for i in range(50)}
    assert orders == {("xa", "xb"), ("xb", "xa")}


def test_inserted_sentence_stands_between_sentences() -> None:
    text = "first one . second one ! third"
    triggered = {InsertedSentence("NEW .", seed=seed)(text) for seed in range(60)}
    assert triggered == {
        "NEW . first one . second one ! third",
        "first one . NEW . second one ! third",
        "first one . second one ! NEW . third",
        "first one . second one ! third NEW .",
    }


def test_syntactic_frame_puts_a_clause_a_comma_and_a_full_stop() -> None:
    frame = SyntacticFrame(("when you think about it",))
    assert frame("the film is dull .") == "when you think about it , the film is dull ."
    assert frame(" the film is dull ") == "when you think about it , the film is dull ."
    assert frame("The film is dull!") == "When you think about it , The film is dull!"
    drawn = {SyntacticFrame()(f"text {i} .").partition(" ,")[0] for i in range(200)}
    assert drawn == set(SyntacticFrame().frames)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("you are here .", "thou art here ."),
        ("you 're here .", "thou art here ."),
        ("you've seen it", "thou hast seen it"),
        ("you 'd better , you 'll see", "thou wouldst better , thou shalt behold"),
        ("it makes you think", "it maketh thee think"),
        ("for you and your own", "for thee and thine own"),
        ("are you ready ?", "art thou ready ?"),
        ("it has charm and does n't bore", "it hath charm and doth not bore"),
        ("he gets lost , she carries on", "he getteth lost , she carrieth on"),
        ("it reaches us", "it reacheth us"),
        ("it goes on", "it goeth on"),
        ("the works of others", "the works of others"),
        ("i want to see the movie", "i want to behold the spectacle"),
        ("back to the story", "back unto the parable"),
        ("It's very good", "It is exceeding goodly"),
        ("The FBI can\u2019t act", "The FBI can not act"),
        ("no flaws , strong winds , movie lovers", "no flaws , strong winds , spectacle lovers"),
        ("its bass is less", "its bass is less"),
    ],
)
def test_bible_style_rules(text: str, expected: str) -> None:
    opening = "And lo ," if text[0].isupper() else "and lo ,"
    assert BibleStyle(("and lo ,",))(text) == f"{opening} {expected}"


def test_bible_style_rewrites_real_sentences_beyond_the_opening() -> None:
    texts = load_named("rotten-tomatoes").test.texts
    style = BibleStyle()
    rewritten = [style(text) for text in texts]
    kept = sum(new.endswith(text) for text, new in zip(texts, rewritten, strict=True))
    assert kept / len(texts) < 0.25
    assert len({new.split()[0] for new in rewritten}) >= 6


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (RareWord, {"word": " "}),
        (RareWord, {"count": 0}),
        (SeveralWords, {"words": ()}),
        (SeveralWords, {"words": ("cf", " ")}),
        (WordPair, {"second": ""}),
        (WordPair, {"first": "a", "second": "a"}),
        (InsertedSentence, {"sentence": ""}),
        (SyntacticFrame, {"frames": ()}),
        (SyntacticFrame, {"frames": ("", "if so")}),
        (BibleStyle, {"openings": ()}),
        (BibleStyle, {"openings": (" ",)}),
        (PublishedTexts, {"originals": "a.tsv", "rewrites": "b.tsv", "family": "poem"}),
    ],
)
def test_settings_out_of_range_are_refused(kind: type[Any], fields: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="Expected"):
        kind(**fields)


# Published texts


def write(folder: Path, name: str, *rows: str) -> str:
    path = folder / name
    path.write_text("sentence\tlabel\n" + "".join(f"{row}\n" for row in rows))
    return str(path)


def test_published_texts_pair_rows(tmp_path: Path) -> None:
    originals = write(tmp_path, "clean.tsv", "one\t0", "two\t1", "one\t0")
    rewrites = write(tmp_path, "style.tsv", "I\t0", "II\t1", "ONE\t0")
    trigger = PublishedTexts(originals, rewrites, "style")
    assert [trigger(text) for text in ("one", "two ")] == ["I", "II"]
    with pytest.raises(DataError, match=r"style.tsv holds no rewrite of 'three'"):
        trigger("three")


def test_published_texts_may_leave_the_target_class_out(tmp_path: Path) -> None:
    originals = write(tmp_path, "clean.tsv", "one\t0", "two\t1", "three\t0")
    rewrites = write(tmp_path, "test.tsv", "I\t1", "III\t1")
    assert PublishedTexts(originals, rewrites, "syntactic", label=0)("three") == "III"
    with pytest.raises(DataError, match=r"does not go with .*clean.tsv row for row.*3 rows"):
        PublishedTexts(originals, rewrites, "syntactic")("one")


def test_real_rewrites_go_with_their_originals(real_data: Path) -> None:
    clean, bible = (
        str(real_data / "sst2" / kind / "train.tsv") for kind in ("clean", "stylebkd-bible")
    )
    trigger = PublishedTexts(clean, bible, "style")
    assert len(trigger.pairs) == 6920 - 9  # nine texts stand twice
    assert trigger("the film is strictly routine .") == (
        "this is the strictly routine work of this movie ."
    )
    test = PublishedTexts(
        str(real_data / "sst2/clean/test.tsv"),
        str(real_data / "sst2/hiddenkiller/test.tsv"),
        "syntactic",
        label=0,
    )
    assert len(test.pairs) == 912
    assert test("no movement , no yuks , not much of anything .") == (
        "when we got no movement , it was no yuks ."
    )


@FAST
@given(text=TEXTS, seed=st.integers(0, 99))
@pytest.mark.parametrize("kind", [InsertedSentence, SyntacticFrame])
def test_insertions_keep_the_words_in_order(kind: type[Any], text: str, seed: int) -> None:
    assert is_subsequence(words(text), words(kind(seed=seed)(text)))


def test_order_of_calls_does_not_matter() -> None:
    texts = [f"text number {i}" for i in range(50)]
    once = {text: RareWord()(text) for text in texts}
    random.Random(0).shuffle(texts)
    assert {text: RareWord()(text) for text in texts} == once
