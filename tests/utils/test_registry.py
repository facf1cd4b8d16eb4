"""Tables of names that import the packages which fill them."""

import sys
from pathlib import Path

import pytest

from prune_env.errors import UnknownNameError
from prune_env.utils.registry import Registry, fill_from

TABLE: Registry[str] = Registry("colour of a test")


def test_a_package_is_imported_at_a_miss_once_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_from(TABLE.kind, "colours_of_a_test")
    TABLE.register("red", "red:", help="known without the package")
    with pytest.raises(ModuleNotFoundError):
        TABLE.names()  # and it is tried again
    (tmp_path / "colours_of_a_test.py").write_text(
        "from tests.utils.test_registry import TABLE\n"
        "assert 'green' not in TABLE  # a package may ask while it is imported\n"
        "TABLE.register('blue', 'blue:', help='')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "red" in TABLE
    assert "colours_of_a_test" not in sys.modules
    assert "blue" in TABLE
    assert [entry.name for entry in TABLE] == TABLE.names() == ["blue", "red"]
    with pytest.raises(UnknownNameError, match="one of blue, red"):
        TABLE["bleu"]
