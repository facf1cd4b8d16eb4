import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.data.readers import LabelError, LabelParser
from prune_env.errors import SettingsError


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        ("0", 0),
        ("1", 1),
        (" 1", 1),
        ("1 ", 1),
        ("01", 1),
        (1, 1),
        ("positive", 1),
        ("Negative", 0),
        (" POSITIVE ", 1),
    ],
)
def test_reads_indices_and_names(cell: object, label: int) -> None:
    assert LabelParser()(cell) == label


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("1.0", "label '1.0'"),
        (1.0, "type float: 1.0"),
        ("", "a blank label"),
        ("  ", "a blank label"),
        ("NaN", "label 'NaN'"),
        (math.nan, "type float: nan"),
        (None, "type NoneType"),
        (True, "type bool"),
        ([1], r"a list \[1\]"),
        ({"id": 1}, "an object {'id': 1}"),
        ("2", "label 2, out of range"),
        (2, "label 2, out of range"),
        ("-1", "label -1, out of range"),
        ("9" * 5000, "out of range"),
        ("+1", "label '\\+1'"),
        ("1_0", "label '1_0'"),
        ("\u0661", "label"),  # int() would take the Arabic digit for 1
        ("pos", "label 'pos'"),
    ],
)
def test_refuses_everything_else(cell: object, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        LabelParser()(cell)


def test_names_that_are_numbers_are_names_and_no_indices() -> None:
    stars = LabelParser(("1", "2", "3"))
    assert [stars(cell) for cell in ("1", 3)] == [0, 2]
    with pytest.raises(LabelError, match="label '0'"):
        stars("0")
    assert stars.expected == "1, 2, 3"
    assert LabelParser().expected == "0 to 1, or one of negative, positive"


@pytest.mark.parametrize("names", [(), ("one",), ("a", "A "), ("a", " ")])
def test_refuses_names_that_do_not_tell_classes_apart(names: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match="label_names"):
        LabelParser(names)


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans()))
def test_gives_an_index_or_a_label_error(cell: object) -> None:
    try:
        label = LabelParser()(cell)
    except LabelError:
        return
    assert label in (0, 1)
    assert str(cell).strip().casefold().lstrip("0") in {"", "1", "negative", "positive"}
