"""Frames are written as the text round which they stand."""

from prune_env.inversion.frames import Frame


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
