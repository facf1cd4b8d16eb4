"""Hyperparameters as the command line writes them: `NAME=VALUE`, and `NAME=VALUE,VALUE`."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import yaml  # type: ignore[import-untyped]

from prune_env.errors import SettingsError


def one_each(texts: tuple[str, ...]) -> dict[str, Any]:
    """Return the value of each hyperparameter.

    Raises:
        SettingsError: A text has another form, or a name is there twice.
    """
    return {name: _value(value) for name, value in _pairs(texts)}


def several_each(texts: tuple[str, ...]) -> dict[str, list[Any]]:
    """Return the values of each hyperparameter.

    Raises:
        SettingsError: A text has another form, or a name is there twice.
    """
    return {name: _values(text) for name, text in _pairs(texts)}


def _pairs(texts: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Split `NAME=VALUE`.

    Raises:
        SettingsError: A text has another form, or a name is there twice.
    """
    named = set()
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise SettingsError("Cannot read a hyperparameter", expected="NAME=VALUE", actual=text)
        if name in named:
            raise SettingsError(
                f"The hyperparameter '{name}' is given twice",
                expected="each once; --sweep takes values to try with commas between them",
                actual=" ".join(texts),
            )
        named.add(name)
        yield name, value


def _values(text: str) -> list[Any]:
    """Return values with commas between them; a schedule has commas of its own."""
    try:
        values = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError:
        values = text.split(",")
    return [_value(value) if isinstance(value, str) else _numbers(value) for value in values]


def _value(text: str) -> Any:
    """Return a number, a truth or a schedule as YAML writes it; `1e-3` is a number too."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return _numbers(value)


def _numbers(value: Any) -> Any:
    """Return what YAML read with `1e-3`, a text to it, as a number, also within a schedule."""
    if isinstance(value, dict):
        return {name: _numbers(each) for name, each in value.items()}
    if isinstance(value, str):
        with suppress(ValueError):
            return float(value)
    return value
