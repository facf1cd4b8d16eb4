"""What is no path is refused by name, wherever one is given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prune_env import load_classifier, load_data, load_ensemble, load_pruned, read_unlabelled
from prune_env.data import read_table
from prune_env.errors import SettingsError
from prune_env.utils.paths import as_path


def test_text_and_paths_are_paths() -> None:
    assert as_path("a/b", "path") == as_path(Path("a/b"), "path") == Path("a/b")
    assert as_path(Path("."), "path") == as_path(".", "path")


@pytest.mark.parametrize("wrong", [None, 3, ["a.tsv"], b"a.tsv", "", "  "], ids=repr)
@pytest.mark.parametrize(
    "read",
    [load_data, read_table, read_unlabelled, load_pruned, load_ensemble, load_classifier],
    ids=lambda read: read.__name__,
)
def test_everything_else_is_refused(read: Callable[[Any], Any], wrong: object) -> None:
    with pytest.raises(SettingsError, match=f"is no path.* Actual: {type(wrong).__name__}"):
        read(wrong)
