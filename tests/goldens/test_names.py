"""Nothing that can be named from outside is lost."""

import ast
import importlib
from typing import Any

import pytest

import prune_env
from tests.goldens import names
from tests.goldens.files import differences, read

LIST: dict[str, dict[str, str]] = read("list")
OPTIONS: dict[str, Any] = read("options")


@pytest.fixture(scope="module")
def listed() -> dict[str, dict[str, str]]:
    return names.listed()


def test_the_same_kinds_are_listed(listed: dict[str, dict[str, str]]) -> None:
    """New kinds may come, behind the old ones."""
    assert list(listed)[: len(LIST)] == list(LIST)


@pytest.mark.parametrize("kind", LIST)
def test_the_same_names_are_listed_with_the_same_help(
    kind: str, listed: dict[str, dict[str, str]]
) -> None:
    """New names may come: of the package, or of plugins that other tests register."""
    old = {name: listed[kind].get(name) for name in LIST[kind]}
    assert differences(LIST[kind], old) == []


def test_environments_are_registered_as_before() -> None:
    assert differences(read("specs"), names.specs()) == []


def test_no_verb_is_lost() -> None:
    assert set(OPTIONS) <= set(names.verbs())


@pytest.mark.parametrize("verb", OPTIONS)
def test_no_option_is_lost(verb: str) -> None:
    """New options, and new choices of an old one, may come."""
    old, new = OPTIONS[verb], names.options_of(verb)
    assert old["arguments"] == new["arguments"]
    assert set(old["options"]) <= set(new["options"])
    for name, (value, default) in old["options"].items():
        new_value, new_default = new["options"][name]
        assert (name, new_default) == (name, default)
        assert _choices(value) <= _choices(new_value), name


def _choices(value: str) -> set[str]:
    return set(value.strip("{}").split(",")) if "," in value else {value}


STATEMENTS = sorted({line for lines in read("imports").values() for line in lines})


@pytest.mark.parametrize("statement", STATEMENTS)
def test_documented_imports_work(statement: str) -> None:
    found: dict[str, object] = {}
    exec(statement, found)
    (node,) = ast.parse(statement).body
    assert isinstance(node, ast.Import | ast.ImportFrom)
    for alias in node.names:
        assert found[alias.asname or alias.name.partition(".")[0]] is not None


@pytest.mark.parametrize("package", read("public_names"))
def test_public_names_stay(package: str) -> None:
    module, old = importlib.import_module(package), read("public_names")[package]
    assert set(old) <= set(module.__all__)
    for name in old:
        assert hasattr(module, name), name


@pytest.mark.parametrize("name", prune_env.__all__)
def test_public_names_are_shown(name: str) -> None:
    assert name in dir(prune_env)


@pytest.mark.parametrize("grid", names.GRIDS)
def test_cells_have_the_addresses_that_they_had(grid: str) -> None:
    assert differences(read("addresses")[grid], names.addresses(grid)) == []
