"""Things that are chosen by name: one table per kind, each entry with a line of help."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar, cast

from prune_env.errors import SettingsError, UnknownNameError

T = TypeVar("T")


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
    """

    name: str
    help: str
    target: T | str

    def load(self) -> T:
        """Return the thing, importing it if it was given as a string."""
        if isinstance(self.target, str):
            module, _, attribute = self.target.partition(":")
            return cast(T, getattr(import_module(module), attribute))
        return self.target


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

    Things are registered beside the table, or by packages that `fill_from` names.

    Args:
        kind: The singular noun used in messages, such as `"policy"`.

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

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[T]] = {}

    def register(self, name: str, target: T | str, *, help: str) -> None:
        """Add one thing; registering the same target again changes nothing.

        Raises:
            SettingsError: The name is taken by another thing.
        """
        held = self._entries.get(name)
        if held is not None and held.target != target:
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
            self._import_packages()
        return name in self._entries

    def __iter__(self) -> Iterator[Entry[Any]]:
        self._import_packages()
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def names(self) -> list[str]:
        """Return every name, sorted."""
        self._import_packages()
        return sorted(self._entries)

    def _import_packages(self) -> None:
        # Noted first: a package may look names up in this table while it is being imported.
        packages = _FILLED_BY.pop(self.kind, ())
        try:
            for package in packages:
                import_module(package)
        except BaseException:
            _FILLED_BY[self.kind] = packages
            raise
