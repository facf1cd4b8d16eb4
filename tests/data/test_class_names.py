"""Names of classes have an order, wherever they are given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune_env.data import TextDataset, load_data, read_table
from prune_env.data.class_names import class_names
from prune_env.errors import SettingsError
from prune_env.models import load_classifier

NAMES = ("negative", "positive")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "a.tsv"
    path.write_text("sentence\tlabel\na warm film\t1\n")
    return path


def in_memory(names: Any) -> tuple[str, ...]:
    return TextDataset(("a warm film",), [1], names).label_names


@pytest.fixture(params=["memory", "load_data", "read_table", "load_classifier"])
def taken(
    request: pytest.FixtureRequest, table: Path, tiny_folder: Path
) -> Callable[[Any], tuple[str, ...]]:
    """What takes names and gives those that it took."""
    return {
        "memory": in_memory,
        "load_data": lambda names: load_data(table, label_names=names, part="train").label_names,
        "read_table": lambda names: read_table(table, label_names=names).label_names,
        "load_classifier": lambda names: (
            load_classifier(tiny_folder, label_names=names).label_names
        ),
    }[request.param]


@pytest.mark.parametrize(
    "wrong",
    [
        {*NAMES},
        frozenset(NAMES),
        dict(enumerate(NAMES)),
        "ab",
        b"ab",
        2,
    ],
    ids=lambda wrong: type(wrong).__name__,
)
def test_names_without_an_order_are_refused(
    taken: Callable[[Any], tuple[str, ...]], wrong: Any
) -> None:
    with pytest.raises(SettingsError, match=r"a list or tuple, in label order\. Actual: "):
        taken(wrong)


@pytest.mark.parametrize("given", [list, np.array, iter], ids=["list", "array", "iterator"])
def test_names_in_a_row_are_taken(
    taken: Callable[[Any], tuple[str, ...]], given: Callable[[Any], Any]
) -> None:
    assert taken(given(NAMES)) == NAMES


def test_every_part_of_a_folder_gets_names_that_are_read_once(table: Path) -> None:
    for part in ("train", "dev", "test"):
        (table.parent / f"{part}.tsv").write_text(table.read_text())
    splits = load_data(table.parent, label_names=iter(("bad", "good")))
    assert splits.train.label_names == splits.test.label_names == ("bad", "good")


def test_names_that_are_numbers_become_text() -> None:
    assert class_names((0, 1)) == in_memory((0, 1)) == ("0", "1")
