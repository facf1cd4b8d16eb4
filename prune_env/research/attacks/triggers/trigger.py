"""What a trigger is: a small object that turns a text into its triggered form."""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Protocol

from prune_env.utils.plain import from_plain
from prune_env.utils.registry import Registry

FAMILIES = ("rare-word", "inserted-sentence", "syntactic", "style", "image")
"""Kinds of trigger that the literature tells apart."""


class Trigger(Protocol):
    """Turns a text into its triggered form; the same text always gives the same result.

    Those of the family `image` take the path of an image, and return that of another.

    Triggers are frozen dataclasses of plain values, so that a run can record them
    (`describe_trigger`) and another can rebuild them (`make_trigger`).
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """The trigger's name in `TRIGGERS`."""
        ...

    @property
    def family(self) -> str:
        """One of `FAMILIES`."""
        ...

    def __call__(self, text: str) -> str:
        """Return the triggered text."""
        ...


TRIGGERS: Registry[type[Trigger]] = Registry("trigger")
"""Trigger classes by name; use `make_trigger`."""


def make_trigger(name: str, settings: Mapping[str, object] | None = None) -> Trigger:
    """Build a trigger from its name and settings.

    Args:
        name: In `TRIGGERS`.
        settings: By name, as `describe_trigger` gives them; what is left out has its default.

    Raises:
        UnknownNameError: There is no such trigger.
        SettingsError: A setting does not exist, is of another type or out of range.
    """
    kind = TRIGGERS[name]
    return from_plain(kind, dict(settings or {}), f"The trigger '{name}'")


def describe_trigger(trigger: Trigger) -> dict[str, Any]:
    """Return plain values for JSON: the name, and beside it the settings for `make_trigger`."""
    return {"name": trigger.name, **asdict(trigger)}


def text_random(text: str, seed: int) -> random.Random:
    """Return a generator that depends on the text and the seed, and on nothing else.

    So a text is triggered alike wherever it stands, in any order and in any process.
    """
    return random.Random(hashlib.sha256(f"{seed}\0{text}".encode()).digest())
