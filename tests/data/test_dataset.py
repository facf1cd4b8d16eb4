import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prune_env.data import Splits, TextDataset, overlap, read_table, require_all_labels
from prune_env.data.dataset import write_jsonl
from prune_env.errors import DataError, SettingsError
from prune_env.purification.cautions import warn_of_contradictions
from prune_env.settings import SEEDS
from tests.support import tiny_dataset


def make(labels: list[int], **fields: object) -> TextDataset:
    return TextDataset(tuple(f"text {i}" for i in range(len(labels))), np.array(labels), **fields)


def test_holds_rows_in_order() -> None:
    data = make([1, 0, 1], source="here", skipped=2)
    assert len(data) == 3
    assert data.texts == ("text 0", "text 1", "text 2")
    assert data.labels.dtype == np.int64
    assert data.counts == {"negative": 1, "positive": 2}
    assert (data.source, data.skipped) == ("here", 2)


def test_labels_cannot_be_changed_from_outside() -> None:
    labels = np.array([0, 1])
    data = TextDataset(("a", "b"), labels)
    labels[0] = 1
    assert data.labels.tolist() == [0, 1]
    with pytest.raises(ValueError, match="read-only"):
        data.labels[0] = 1


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (("a",), [0, 1], "Texts and labels differ in number"),
        (("a", "b"), [0, 2], "Row 2 has a label out of range"),
        (("a", "b"), [-1, 0], "Row 1 has a label out of range"),
        (("a",), [0.5], "one whole number per text"),
        (("a",), [True], "one whole number per text"),
        (("a",), [[0]], "one whole number per text"),
        (("a", None), [0, 1], "Row 2 has a text .* NoneType"),
        (("a", "\ud800"), [0, 1], "Row 2 .* lone surrogate"),
        (("a\0", "b"), [0, 1], "Row 1 .* NUL"),
    ],
)
def test_refuses_rows_that_no_model_can_take(texts: tuple, labels: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TextDataset(texts, np.array(labels))


def test_may_be_empty() -> None:
    data = make([1, 1]).where(0)
    assert len(data) == 0
    assert data.labels.dtype == np.int64
    assert data.counts == {"negative": 0, "positive": 0}


def test_sha256_is_of_content_alone() -> None:
    data = make([0, 1])
    assert data.sha256 == make([0, 1], source="elsewhere", skipped=3).sha256
    others = [
        make([1, 1]),
        make([0, 1], label_names=("a", "b")),
        TextDataset(("text 0text", " 1"), np.array([0, 1])),
        data.select([1, 0]),
    ]
    assert len({data.sha256, *(other.sha256 for other in others)}) == 5


def test_select_by_index_and_by_mask() -> None:
    data = make([0, 1, 1], source="here", skipped=2)
    assert data.select([2, 0]).texts == ("text 2", "text 0")
    assert data.select([2, 0]).labels.tolist() == [1, 0]
    assert data.select(np.array([True, False, True])).texts == ("text 0", "text 2")
    assert data.select([]).texts == ()
    assert (data.select([0]).source, data.select([0]).skipped) == ("here", 2)
    assert data.where(1).texts == ("text 1", "text 2")


@pytest.mark.parametrize(
    "wrong", [[3], [-1], [1.5], [True, False], [True] * 4, [[True] * 3]], ids=str
)
def test_what_no_row_is_is_an_index_error(wrong: list) -> None:
    with pytest.raises(IndexError):
        make([0, 1, 1]).select(wrong)


def test_texts_may_come_one_by_one() -> None:
    assert TextDataset((text for text in ("a", "b")), [0, 1]).texts == ("a", "b")


@settings(deadline=None, max_examples=50)
@given(
    labels=st.lists(st.integers(0, 2), min_size=6, max_size=40).filter(
        lambda labels: all(labels.count(k) != 1 for k in range(3))
    ),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, SEEDS - 1),
)
def test_split_is_a_stratified_partition(labels: list[int], fraction: float, seed: int) -> None:
    data = make(labels, label_names=("a", "b", "c"))
    rest, part = data.split(fraction, seed)
    assert sorted(rest.texts + part.texts) == sorted(data.texts)
    for whole in (rest, part):
        rows = [int(text.split()[1]) for text in whole.texts]
        assert rows == sorted(rows)
        assert whole.labels.tolist() == [labels[row] for row in rows]
    for label in set(labels):
        total, taken = labels.count(label), len(part.where(label))
        assert taken == min(max(round(fraction * total), 1), total - 1)
    assert data.split(fraction, seed)[1].texts == part.texts


def test_split_depends_on_the_seed() -> None:
    data = make([0, 1] * 20)
    assert data.split(0.5, 0)[1].texts != data.split(0.5, 1)[1].texts


def test_split_refuses_what_it_cannot_do() -> None:
    with pytest.raises(DataError, match="class 'positive' is too small"):
        make([0, 0, 1]).split(0.5, 0)
    for fraction in (0, 1, -0.1, float("nan"), "0.2", None):
        with pytest.raises(SettingsError, match="fraction"):
            make([0, 0, 1, 1]).split(fraction, 0)
    for seed in (-1, 1.5, None):
        with pytest.raises(SettingsError, match="seed is out of range"):
            make([0, 0, 1, 1]).split(0.5, seed)


def test_a_split_names_texts_with_two_labels_as_the_reason() -> None:
    data = TextDataset(("a", "b", "c", "a", "b", "d"), np.array([0, 0, 0, 1, 1, 1]))
    with (
        pytest.warns(UserWarning, match="2 of 6 rows"),
        pytest.raises(DataError, match=r"Actual: 1 without another label before.*2 rows of this"),
    ):
        data.split(0.5, 0)


def test_overlap_counts_and_warns() -> None:
    train = TextDataset(("A warm film .", "dull"), np.array([1, 0]), source="train.tsv")
    test = TextDataset(("a  warm film .", "new", "dull "), np.array([1, 0, 0]), source="test.tsv")
    with pytest.warns(UserWarning, match=r"2 of 3 texts of test.tsv also stand in train.tsv"):
        assert overlap(train, test) == 2


def test_large_numbers_have_commas_on_both_sides_of_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    texts = tuple(f"film {row // 2}" for row in range(2_400))
    labels = np.array([(row // 2 + row) % 2 for row in range(2_400)])
    twice = TextDataset(texts, labels, source="train.tsv")
    with pytest.warns(UserWarning, match=r"2,400 of 2,400 texts of train.tsv also stand"):
        overlap(twice, twice)
    with pytest.warns(UserWarning, match=r"1,200 of 2,400 rows of train.tsv repeat"):
        twice.split(0.5, 0)
    warn_of_contradictions(twice)
    assert "2,400 of 2,400 rows of train.tsv have a text" in caplog.text


@pytest.mark.filterwarnings("error")
def test_overlap_is_silent_where_there_is_none() -> None:
    assert overlap(make([0, 1]), TextDataset(("other",), np.array([0]))) == 0


def test_one_class_only_is_refused_for_training() -> None:
    require_all_labels(make([0, 1]))
    with pytest.raises(DataError, match="negative: 0, positive: 2"):
        require_all_labels(make([1, 1], source="train.tsv"))


def test_splits_name_their_parts() -> None:
    parts = [make([k]) for k in (0, 1, 0)]
    splits = Splits(*parts)
    assert [splits.train, splits.validation, splits.test] == parts


def test_counts_are_plain_json() -> None:
    assert json.dumps(make([0]).counts) == '{"negative": 1, "positive": 0}'


TEXTS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0")).map(str.strip), min_size=1
)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=TEXTS,
    seed=st.integers(0, 99),
    names=st.sampled_from(
        [("a", "b", "c"), ("1", "2", "0"), ("-2", "-1", "x"), (" 1", "x", "y"), ("+1", "-1", "0")]
    ),
)
def test_what_is_written_is_read_back(
    tmp_path: Path, texts: list[str], seed: int, names: tuple[str, ...]
) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, size=len(texts))
    data = TextDataset(tuple(texts), labels, names)
    write_jsonl(tmp_path / "out.jsonl", data)
    assert read_table(tmp_path / "out.jsonl", label_names=names).sha256 == data.sha256


def test_repeated_and_contradictory_rows_are_counted() -> None:
    texts = ("a film", "A  film", "a play", "a film", "a song", "a play")
    data = TextDataset(texts, np.array([0, 0, 1, 1, 0, 1]), ("bad", "good"), "here")
    assert data.repeated == 3
    assert data.contradictory == 3  # of "a film"; "a play" has one label


@pytest.mark.filterwarnings("ignore:.*repeat the text")
@given(seed=st.integers(0, SEEDS - 1), often=st.integers(1, 600))
@settings(deadline=None, max_examples=30)
def test_a_text_that_many_rows_repeat_leaves_the_split_near_its_share(
    seed: int, often: int
) -> None:
    texts = [*(f"text {row}" for row in range(300)), *["again"] * often]
    data = TextDataset(tuple(texts), np.zeros(len(texts), np.int64), ("a", "b"))
    rest, part = data.split(0.2, seed)
    assert 0.2 * len(texts) - 1 <= len(part) <= 0.4 * len(texts)
    assert {*rest.texts} & {*part.texts} == set()


@pytest.mark.filterwarnings("ignore:.*repeat the text")
def test_of_two_texts_with_many_rows_one_is_on_either_side() -> None:
    data = TextDataset(("a",) * 40 + ("b",) * 30, np.zeros(70, np.int64), ("x", "y"))
    rest, part = data.split(0.1, 0)
    assert (set(rest.texts), set(part.texts)) == ({"a"}, {"b"})


def test_a_sample_may_be_of_no_row() -> None:
    data = tiny_dataset(5, 0)
    assert len(data.sample(0, np.random.default_rng(0))) == 0
    assert data.joined(data.sample(0, np.random.default_rng(0))).texts == data.texts
