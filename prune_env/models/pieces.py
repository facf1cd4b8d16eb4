"""The vocabulary of a SentencePiece or tiktoken file, judged before a library converts it.

Converting takes time by the square of a piece's length, and all of it in the process that asks.
"""

from collections.abc import Iterator
from pathlib import Path

from prune_env.errors import ModelError
from prune_env.models.header import damaged
from prune_env.utils.limits import VOCABULARY, WORD

VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
"""Wire types of protocol buffers that a SentencePiece model has."""


def find_piece_problems(path: Path, content: bytes) -> Iterator[ModelError]:
    """Yield what is wrong with the pieces of such a file."""
    try:
        longest = [len(piece) for piece in _pieces(content, VOCABULARY.value + 1)]
    except ValueError:  # no protocol buffer: a line each, as tiktoken has it
        longest = []
    longest = longest or [len(line) for line in content.splitlines()]
    if len(longest) > VOCABULARY.value:
        yield VOCABULARY.exceeded(len(longest), f"{path} holds too many pieces", ModelError)
    elif max(longest, default=0) > WORD.value:
        yield damaged(path, f"pieces of up to {WORD.value} bytes", f"one of {max(longest):,}")


def _pieces(content: bytes, most: int) -> Iterator[bytes]:
    """Yield the pieces of a `ModelProto`, its field 1, with their score and kind; at most some.

    Raises:
        ValueError: It is none.
    """
    place, found = 0, 0
    while place < len(content) and found < most:
        key, place = _varint(content, place)
        field, wire = key >> 3, key & 7
        if wire == VARINT:
            _, place = _varint(content, place)
            continue
        if wire == LENGTH:
            size, place = _varint(content, place)
        elif wire in (EIGHT_BYTES, FOUR_BYTES):
            size = 8 if wire == EIGHT_BYTES else 4
        else:
            raise ValueError(f"wire type {wire}")
        if size > len(content) - place:
            raise ValueError("cut short")
        if wire == LENGTH and field == 1:
            found += 1
            yield content[place : place + size]
        place += size


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """Return the number that begins at a place, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(content):
            break
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("no number")
