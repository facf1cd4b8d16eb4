"""Is a line of `events.jsonl` what a run writes? A file may come from anywhere."""

import dataclasses
import json
import math
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from prune_env.errors import StateError
from prune_env.utils.event_kinds import Event, MaskSet, ModelShown
from prune_env.utils.events import FORMAT, VERSION

KINDS: dict[str, type] = {kind.__name__: kind for kind in get_args(Event)}
MOST_HEADS = 20_000
"""Heads of a model that a page can draw: far more than any has."""

MOST_NUMBER = 2**53
"""Up to which a page counts exactly."""

MOST_LEVELS = 8
"""Of values inside each other, where a kind of event leaves them open."""

REMEDY = "if the run still goes on, wait for it; otherwise run it again in a new folder"


def read_header(line: bytes, name: str) -> dict[str, Any]:
    """Return the first line of a file of events.

    Args:
        line: Without its end.
        name: How messages call the file.

    Raises:
        StateError: The file is of another kind or version.
    """
    value = _parse(line)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise StateError(
            f"{name} holds no events of a run",
            expected=f"{FORMAT} version {VERSION} in its first line",
            actual=f"{line[:60]!r}",
            remedy="give the folder of a run of purify, train, benchmark or demo",
        )
    if value.get("version") != VERSION:
        raise StateError(
            f"{name} is of another version of prune-env",
            expected=f"{FORMAT} version {VERSION}",
            actual=f"version {value.get('version')!r:.40}",
            remedy="watch it with the version that wrote it, or run it again",
        )
    if not all(isinstance(value.get(key), str) for key in ("verb", "started")):
        raise _damaged(name, 1, "no verb or no time")
    return {"kind": "RunStarted", "verb": value["verb"], "started": value["started"]}


def read_event(line: bytes, name: str, number: int) -> dict[str, Any] | None:
    """Return an event, None for a kind that is not known here.

    Args:
        line: Without its end.
        name: How messages call the file.
        number: Of the line, from 1.

    Raises:
        StateError: The line is damaged.
    """
    value = _parse(line)
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        raise _damaged(name, number, f"{line[:60]!r}")
    if not _fits(value.get("t"), float):
        raise _damaged(name, number, "no time")
    kind = KINDS.get(value["kind"])
    if kind is None:
        return None
    fields = _fields(kind)
    for field, hint in fields.items():
        if field in value and not _fits(value[field], hint):
            raise _damaged(name, number, f"{field} = {value[field]!r:.60}")
    missing = sorted(_required(kind) - set(value))
    if missing:
        raise _damaged(name, number, f"no {missing[0]}")
    masks = {MaskSet: "mask", ModelShown: "available"}
    if kind in masks and not _is_mask(value[masks[kind]]):
        raise _damaged(name, number, f"{masks[kind]} = {value[masks[kind]]!r:.60}")
    told = {key: value[key] for key in fields if key in value}
    return {"kind": kind.__name__, "t": value["t"], **told}


@cache
def _fields(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _required(kind: type) -> frozenset[str]:
    return frozenset(
        field.name
        for field in dataclasses.fields(kind)
        if field.default is field.default_factory is dataclasses.MISSING
    )


def _parse(line: bytes) -> Any:
    try:
        return _DECODER.decode(line.decode())
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _finite(text: str) -> float:
    """Return a number; 1e999 would become one that no JSON can tell the page."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


# Made once: `json.loads` makes one a line.
_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value is of a type that a dataclass of events names."""
    if get_origin(hint) is not None:
        return _fits_parts(value, get_origin(hint), get_args(hint))
    if hint is Any:
        return _is_shallow(value, MOST_LEVELS)
    if hint in (float, int):  # JSON's true is no number; what was not finite is null
        numbers = int | float | None if hint is float else int
        return isinstance(value, numbers) and not isinstance(value, bool) and _is_small(value)
    return isinstance(value, NoneType if hint is None else hint)


def _is_shallow(value: Any, levels: int) -> bool:
    """Whether JSON lies no deeper than so many levels: what could just be read fails to be told."""
    if not isinstance(value, dict | list):
        return True
    parts = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(each, levels - 1) for each in parts)


def _is_small(value: Any) -> bool:
    return type(value) is not int or abs(value) <= MOST_NUMBER


def _fits_parts(value: Any, kind: Any, parts: tuple[Any, ...]) -> bool:
    if kind is Literal:
        return value in parts
    if kind is list:
        return isinstance(value, list) and all(_fits(each, parts[0]) for each in value)
    if kind is dict:
        return isinstance(value, dict) and all(_fits(each, parts[1]) for each in value.values())
    return any(_fits(value, each) for each in parts)  # a union


def _is_mask(rows: list[str]) -> bool:
    """Whether rows are a mask that a page can draw."""
    widths = {len(row) for row in rows}
    small = len(widths) == 1 and 0 < len(rows) * max(widths) <= MOST_HEADS
    return small and set().union(*rows) <= set("01")


class Shapes:
    """The shapes of the models of a run, which its masks have too."""

    def __init__(self) -> None:
        self._shapes: dict[str, tuple[int, int]] = {}  # by name; no mask is told before its model

    def fit(self, event: dict[str, Any], name: str, number: int) -> dict[str, Any]:
        """Return an event, its mask cut to its model.

        Where models of several shapes are played at once, masks are as wide as the widest model,
        and have only zeros where a narrower one has no heads.

        Args:
            event: What `read_event` returned.
            name: How messages call the file.
            number: Of the line, from 1.

        Raises:
            StateError: The mask is of another model.
        """
        if event["kind"] == ModelShown.__name__:
            rows = event["available"]
            self._shapes[event["model"]] = len(rows), len(rows[0])
        if event["kind"] != MaskSet.__name__ or not self._shapes:
            return event
        # As the page does: what is of no model that it knows is drawn as of the last one.
        last = next(reversed(self._shapes.values()))
        layers, heads = self._shapes.get(event.get("model", MaskSet.model), last)
        rows = event["mask"]
        if len(rows) == layers and len(rows[0]) == heads:
            return event
        beyond = [*(row[heads:] for row in rows[:layers]), *rows[layers:]]
        if len(rows) < layers or len(rows[0]) < heads or "1" in "".join(beyond):
            shape = f"{len(rows)} x {len(rows[0])}"
            raise _damaged(name, number, f"a mask of {shape} for a model of {layers} x {heads}")
        return {**event, "mask": [row[:heads] for row in rows[:layers]]}


def _damaged(name: str, number: int, actual: str) -> StateError:
    return StateError(
        f"Line {number} of {name} is damaged",
        expected="an event of a run",
        actual=actual,
        remedy=REMEDY,
    )
