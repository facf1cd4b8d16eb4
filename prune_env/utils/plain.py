"""Dataclasses to plain values and back, strictly: a typo in a file is answered with its name."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from prune_env.errors import SettingsError, StateError

T = TypeVar("T")
LATER = "later"


def later(default: T) -> T:
    """Return a field that was added when files and addresses without it existed already.

    While it has its default, `to_plain` leaves it out: what was made before keeps its address.

    Args:
        default: An immutable value.
    """
    made: T = field(default=default, metadata={LATER: True})
    return made


def to_plain(settings: Any) -> dict[str, Any]:
    """Return a dataclass as `asdict` does, without `later` fields that have their default."""
    plain = asdict(settings)
    for each in fields(settings):
        value = getattr(settings, each.name)
        if LATER in each.metadata and value == each.default:
            del plain[each.name]
        elif is_dataclass(value):
            plain[each.name] = to_plain(value)
        elif isinstance(value, tuple):
            plain[each.name] = tuple(to_plain(one) if is_dataclass(one) else one for one in value)
    return plain


def from_plain(kind: type[T], content: Any, where: str) -> T:
    """Build a settings dataclass from TOML or JSON values, strictly.

    Args:
        kind: A dataclass of plain values, of tuples of them, and of such dataclasses.
        content: A table.
        where: Name of the table, for messages.

    Raises:
        SettingsError: A key is unknown, missing, or of another type.
    """
    known = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(content, dict):
        raise SettingsError(f"{where} is no table", expected=", ".join(known), actual=content)
    for key in content:
        if key not in known:
            raise SettingsError(
                f"{where} has an unknown key '{key}'",
                expected=f"one of {', '.join(known)}",
                remedy="check the spelling",
            )
    hints = get_type_hints(kind)
    values = {key: _value(hints[key], value, f"{where}: {key}") for key, value in content.items()}
    needed = [
        each.name
        for each in fields(kind)  # type: ignore[arg-type]
        if each.default is MISSING and each.default_factory is MISSING
    ]
    if missing := [name for name in needed if name not in values]:
        raise SettingsError(
            f"{where} lacks {', '.join(missing)}",
            expected=f"the keys {', '.join(needed)}",
            actual=", ".join(values) or "none",
        )
    return kind(**values)


def differing(asked: Mapping[str, Any], held: Any) -> tuple[str, str]:
    """Return what two records of settings say where they differ, as messages show it.

    Args:
        asked: As given now.
        held: As a file has it; what is no mapping is shown as it is.
    """
    if not isinstance(held, Mapping):
        return str(asked), f"{held!r:.80}"
    one, other = [], []
    for name in {**held, **asked}:
        mine, theirs = asked.get(name), held.get(name)
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            inside = differing(mine, theirs)
            one.append(inside[0])
            other.append(inside[1])
        elif mine != theirs:
            one.append(f"{name}: {mine}")
            other.append(f"{name}: {theirs}")
    return ", ".join(filter(None, one)), ", ".join(filter(None, other))


def check_same(path: Path, what: str, asked: Mapping[str, Any], held: Mapping[str, Any]) -> None:
    """Raise unless a file that goes on was begun with the same arguments.

    Args:
        path: The file.
        what: It would belong to another of these, for the message.
        asked: As given now.
        held: As the file has it.

    Raises:
        StateError: They differ.
    """
    if held != asked:
        expected, actual = differing(asked, held)
        raise StateError(
            f"{path} belongs to another {what}",
            expected=expected,
            actual=actual,
            remedy="give the arguments it was begun with, or choose another --out",
        )


def _value(hint: Any, value: Any, where: str) -> Any:
    """Return a value as its type hint asks for it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        kinds = [each for each in arguments if each is not NoneType]
        inner = next((each for each in kinds if type(value) is each), kinds[0])
        return None if value is None else _value(inner, value, where)
    if origin in (tuple, dict):
        return _values(origin, arguments, value, where)
    if origin is Literal:
        if value not in arguments:
            expected = ", ".join(map(str, arguments))
            raise SettingsError(f"{where} is unknown", expected=expected, actual=value)
    elif is_dataclass(hint):
        return from_plain(hint, value, where)  # type: ignore[arg-type]
    elif hint is Path and type(value) is str:
        return Path(value)
    elif hint is float and type(value) is int:
        return float(value)
    elif type(value) is not hint:
        raise SettingsError(
            f"{where} has the wrong type", expected=hint.__name__, actual=repr(value)
        )
    return value


def _values(origin: type, arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    """Return a tuple or a dictionary whose values are as the type hint asks for them."""
    if origin is dict:
        if not isinstance(value, dict):
            raise SettingsError(f"{where} must be a table", actual=value)
        return {str(key): _value(arguments[1], each, where) for key, each in value.items()}
    if not isinstance(value, list | tuple):
        tables = is_dataclass(arguments[0])  # TOML has a sign of its own for a list of them
        remedy = f"write [[{where.rpartition(' ')[2]}]]" if tables else "write [ ... ]"
        raise SettingsError(f"{where} must be a list", actual=value, remedy=remedy)
    return tuple(_value(arguments[0], each, where) for each in value)
