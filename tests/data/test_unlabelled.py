"""Texts without labels come from lines or a column, or an error says which one does not."""

from pathlib import Path

import numpy as np
import pytest

from prune_env.data.dataset import TextDataset
from prune_env.data.unlabelled import Unlabelled, read_unlabelled
from prune_env.errors import DataError


def _file(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


def test_a_text_file_is_one_text_a_line_each_once(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.txt", "\ufeffa warm film\r\n\r\n  a dull one \r\na warm film\r\n")
    read = read_unlabelled(path)
    assert read.texts == ("a warm film", "a dull one")
    assert (read.source, read.skipped, len(read)) == (str(path), 0, 2)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "id\tbody\n1\ta warm film\n2\ta dull one\n"),
        ("a.csv", 'id,body\n1,"a warm film"\n2,a dull one\n'),
        ("a.jsonl", '{"body": "a warm film"}\n{"body": "a dull one"}\n'),
    ],
)
def test_of_a_table_the_column_of_texts_is_read(tmp_path: Path, name: str, content: str) -> None:
    read = read_unlabelled(_file(tmp_path / name, content), text_column="body")
    assert read.texts == ("a warm film", "a dull one")


def test_a_row_that_cannot_be_read_stops_it_or_is_counted(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.jsonl", '{"sentence": "warm"}\n{"sentence": 3}\n')
    with pytest.raises(DataError, match=r"row 2 \(line 2\).*--on-bad-row skip"):
        read_unlabelled(path)
    read = read_unlabelled(path, on_bad_row="skip")
    assert (read.texts, read.skipped) == (("warm",), 1)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.txt", "", "is empty"),
        ("a.txt", " \n\n", "Expected: one text a line"),
        ("a.tsv", "sentence\n \n", "holds no text"),
        ("a.tsv", "text\nwarm\n", "'sentence' is missing.*Remedy: rename the column, or .*txt"),
        ("a.jsonl", '{"text": "warm"}\n', r"keys: text \(rename the key\)"),
        ("a.pdf", "warm", r"not a table that can be read.* ends in \.txt, \.tsv, "),
        ("a.txt", "a\0b\n", "NUL"),
    ],
)
def test_what_holds_no_texts_is_refused(
    tmp_path: Path, name: str, content: str, match: str
) -> None:
    with pytest.raises(DataError, match=match):
        read_unlabelled(_file(tmp_path / name, content))


def test_a_folder_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ends in \.txt, \.tsv.* Actual: a folder"):
        read_unlabelled(tmp_path)


def test_the_identity_is_of_the_texts_alone() -> None:
    one, same = Unlabelled(("a", "b"), "x"), Unlabelled(("a", "b"), "y", skipped=3)
    assert one.sha256 == same.sha256 != Unlabelled(("ab",)).sha256


def test_texts_of_the_clean_data_are_left_out() -> None:
    texts = Unlabelled(("A warm  film", "a dull one", "a new one"), "mails.txt", skipped=2)
    clean = TextDataset(("a warm film",), np.array([1]))
    other = TextDataset(("A dull one",), np.array([0]))
    left = texts.without(clean, other)
    assert (left.texts, left.source, left.skipped) == (("a new one",), "mails.txt", 2)
    assert texts.without() == texts
    with pytest.raises(DataError, match="no text beside those of the clean data") as caught:
        Unlabelled(("a warm film",), "mails.txt").without(clean, other)
    assert "1 text, each in the clean data too" in str(caught.value)
