"""Things that are chosen by name: one table per kind, each entry with a line of help."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar, cast

from prune_env.errors import SettingsError, UnknownNameError

T = TypeVar("T")
log = logging.getLogger(__name__)

FOREIGN: dict[str, str] = {}
"""Distributions of others whose entry points were loaded, by their package."""


def first_line(text: str | None) -> str:
    """Return the first line of a docstring, which `python -OO` takes away."""
    return (text or "").partition("\n")[0]


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One named thing.

    Attributes:
        name: What users write.
        help: One line for `prune-env list`.
        target: The thing itself, or `"module:attribute"`, imported at first use so that listing
            names costs no import of torch.
        distribution: Of others, whose entry point it is; empty for what is registered by code.
    """

    name: str
    help: str
    target: T | str
    distribution: str = ""

    def load(self) -> T:
        """Return the thing, importing it if it was given as a string.

        Raises:
            SettingsError: It is the entry point of another distribution, and broken.
        """
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        if self.distribution:
            FOREIGN[module.partition(".")[0]] = self.distribution
        try:
            # Of a class within a class, an entry point names both.
            return cast(T, reduce(getattr, attribute.split("."), import_module(module)))
        except (Exception, SystemExit) as error:  # a module of others may end the program
            if not self.distribution:
                raise
            raise SettingsError(
                f"'{self.name}' of the distribution {self.distribution} cannot be loaded",
                expected=f"{self.target}, as its entry point says",
                actual=f"{type(error).__name__}: {error}",
                remedy=f"repair or uninstall {self.distribution}",
            ) from error


_FILLED_BY: dict[str, tuple[str, ...]] = {}
"""Packages that were not imported yet, by the kind of thing that they register."""


def fill_from(kind: str, *packages: str) -> None:
    """Name packages that register things of a kind when they are imported.

    They are imported when a name of the kind is not found, or all of them are listed. So a table
    needs no knowledge of those that stand above it and fill it.

    Args:
        kind: That of a `Registry`.
        packages: Their dotted names.
    """
    _FILLED_BY[kind] = (*_FILLED_BY.get(kind, ()), *packages)


class Registry(Generic[T]):
    """A table from names to things of one kind.

    Things are registered beside the table, by packages that `fill_from` names, or by entry points
    of other distributions. Those are read when a name is not found, or all are listed; a name of
    this package wins over theirs.

    Args:
        kind: The singular noun used in messages, such as `"policy"`.
        group: Such as `policies`, of entry points in `prune_env.policies`; None reads none.

    Example:
        >>> colours: Registry[int] = Registry("colour")
        >>> colours.register("red", 0xFF0000, help="the colour of errors")
        >>> colours["red"]
        16711680
        >>> colours["rde"]
        Traceback (most recent call last):
        ...
        prune_env.errors.UnknownNameError: Unknown colour 'rde'. Expected: one of red. \
Remedy: did you mean 'red'? `prune-env list` describes every name.
    """

    def __init__(self, kind: str, group: str | None = None) -> None:
        self.kind = kind
        self._group = group
        self._entries: dict[str, Entry[T]] = {}

    def register(self, name: str, target: T | str, *, help: str) -> None:
        """Add one thing; registering the same target again changes nothing.

        Raises:
            SettingsError: The name is taken by another thing, not an entry point.
        """
        held = self._entries.get(name)
        if held is not None and held.target != target and not held.distribution:
            raise SettingsError(
                f"The {self.kind} name '{name}' is taken",
                actual=held.target,
                remedy="register under another name",
            )
        self._entries[name] = Entry(name, help, target)

    def __getitem__(self, name: str) -> T:
        if name not in self:
            raise UnknownNameError(self.kind, name, self._entries)
        return self._entries[name].load()

    def __contains__(self, name: object) -> bool:
        if name not in self._entries:
            self._fill()
        return name in self._entries

    def __iter__(self) -> Iterator[Entry[Any]]:
        self._fill()
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def names(self) -> list[str]:
        """Return every name, sorted."""
        self._fill()
        return sorted(self._entries)

    def _fill(self) -> None:
        self._import_packages()
        group, self._group = self._group, None
        for point in entry_points(group=f"prune_env.{group}") if group else ():
            maker = point.dist.name if point.dist is not None else "without a name"
            if point.name in self._entries:
                log.warning("The %s '%s' of %s is not used: taken.", self.kind, point.name, maker)
            else:
                entry: Entry[T] = Entry(point.name, f"from {maker}", point.value, maker)
                self._entries[point.name] = entry

    def _import_packages(self) -> None:
        # Noted first: a package may look names up in this table while it is being imported.
        packages = _FILLED_BY.pop(self.kind, ())
        try:
            for package in packages:
                import_module(package)
        except BaseException:
            _FILLED_BY[self.kind] = packages
            raise
