"""Frames are written as the text round which they stand."""

import pytest

from prune_env.inversion.frames import Frame, split_words


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


def test_frames_know_what_they_extend():
    assert Frame("when you").extends(Frame("when"))
    assert not Frame("when you ,").extends(Frame("when"))
    assert not Frame("whenever you").extends(Frame("when"))
    assert not Frame("", "when you").extends(Frame("when"))
    assert Frame("", ", and").length == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("फिल्म अच्छी है।", ["फिल्म", "अच्छी", "है", "।"]),
        ("هل هو جيد، يا صديقي؟", ["هل", "هو", "جيد", "،", "يا", "صديقي", "؟"]),
        ("فلم اچھی ہے\u06d4", ["فلم", "اچھی", "ہے", "\u06d4"]),
        ("电影 好看\uff0c 真 的\uff01", ["电影", "好看", "\uff0c", "真", "的", "\uff01"]),
    ],
)
def test_marks_of_other_scripts_are_split_off(text: str, words: list[str]) -> None:
    assert split_words(text) == words
    assert Frame("", "x")(text) == f"{text[:-1]} x"
    assert Frame(f"y {text[-1]}", "")(text) == f"y{text[-1]} {text}"


def test_words_behind_replace_the_full_stop_where_there_are_no_spaces() -> None:
    assert Frame("", "真 的", spaced=False)("好看。") == "好看真的"
    assert Frame("真 的", "", spaced=False)("好看。") == "真的好看。"


def test_typographic_marks_stand_at_their_words_too() -> None:
    assert Frame("as it is ,")("“A warm film.”") == "as it is, “A warm film.”"
    assert Frame("as it is ,")("A warm film…") == "As it is, A warm film…"
    assert Frame("", ", you know")("A warm film…") == "A warm film, you know"
    words = ["It", "\u2019s", "“a", "warm", "film", ".", "”"]
    assert split_words("It\u2019s “a warm film.”") == words


def test_a_word_may_keep_its_small_letter() -> None:
    assert Frame("cf")("A warm film.") == "Cf A warm film."
    assert Frame("cf", as_spelled=True)("A warm film.") == "cf A warm film."


def test_a_long_run_of_marks_takes_no_longer_than_others() -> None:
    """Quadratic time would be minutes."""
    marks = "." * 200_000
    assert split_words(f"{marks}a film.") == [f"{marks}a", "film", "."]
