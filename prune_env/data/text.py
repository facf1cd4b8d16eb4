"""A single text: whether it can be read, and when two of them are the same."""

import hashlib
import re
from collections.abc import Sequence

from prune_env.utils.limits import TEXT

_WHOLE_NUMBER = re.compile(r"-?[0-9]+", re.ASCII)

NESTED: dict[type, str] = {dict: "an object", list: "a list"}
"""What JSON calls cells that hold other cells."""


def text_problem(text: object) -> str:
    """Say why a value cannot be tokenized; empty if it can."""
    if not isinstance(text, str):
        return f"{NESTED.get(type(text), type(text).__name__)} {text!r:.80}"
    if "\0" in text:
        return "a NUL character"
    if len(text) > TEXT.value:
        return f"{len(text):,} characters, more than {TEXT.value:,}"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"a lone surrogate at character {error.start}"
    return ""


def hash_texts(digest: "hashlib._Hash", texts: Sequence[str]) -> None:
    """Add texts to a hash, each after its length, so that no two lists of them are alike."""
    for text in texts:
        raw = text.encode()
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)


def normalised(text: str) -> str:
    """Return a text as it is compared with others: without case, runs of white space made one."""
    return " ".join(text.split()).casefold()


def is_whole_number(text: str) -> bool:
    """Whether it reads as a number of a class; outer white space does not matter."""
    return _WHOLE_NUMBER.fullmatch(text.strip()) is not None


def folded(names: Sequence[str]) -> list[str]:
    """Return names as they are compared: without case and outer white space."""
    return [name.strip().casefold() for name in names]
