"""Reading files of strangers: regular ones only, up to a size, JSON up to a count of entries."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from prune_env.errors import PruneEnvError
from prune_env.utils.limits import STATE_BYTES, STATE_ENTRIES, Limit

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFREG: "a regular file",
}
"""What may stand under a name, by the kind in its mode."""


@contextmanager
def opened(path: str | Path, limit: Limit, error: type[PruneEnvError]) -> Iterator[BinaryIO]:
    """Open a regular file of a bounded size for reading, as bytes.

    A FIFO would be waited for, and a device may never end; neither is opened for long.

    Args:
        path: The file; a link is followed.
        limit: Of its size.
        error: Class of the error.

    Raises:
        error: It is no regular file, or larger.
        OSError: It cannot be opened.
    """
    with _at_once(path, error) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise _no_file(path, kind_of(found.st_mode), error)
        limit.check(found.st_size, f"{path} is too large", error)
        yield file


def _at_once(path: str | Path, error: type[PruneEnvError]) -> BinaryIO:
    # Without O_NONBLOCK, opening a FIFO waits for its writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        return open(path, "rb", opener=lambda name, _: os.open(name, flags))
    except IsADirectoryError:
        raise _no_file(path, KINDS[stat.S_IFDIR], error) from None
    except ValueError as problem:  # a NUL in the name
        raise _no_file(path, problem, error) from None


def _no_file(path: str | Path, actual: object, error: type[PruneEnvError]) -> PruneEnvError:
    return error(
        f"{path} is no file that can be read",
        expected=KINDS[stat.S_IFREG],
        actual=actual,
        remedy="give a file",
    )


def kind_of(mode: int) -> str:
    """Return what stands under a name, in words."""
    return KINDS.get(stat.S_IFMT(mode), "something else")


def read_bounded(path: str | Path, limit: Limit, error: type[PruneEnvError]) -> bytes:
    """Return the bytes of a regular file; errors as those of `opened`."""
    with opened(path, limit, error) as file:
        content = file.read(limit.value + 1)
    limit.check(len(content), f"{path} is too large", error)  # one of /proc tells no size
    return content


def parse_json(
    raw: bytes,
    path: str | Path,
    entries: Limit,
    error: type[PruneEnvError],
    pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """Return what JSON says, with or without a byte order mark, its entries counted before.

    Args:
        raw: UTF-8.
        path: Where it stands, for messages.
        entries: Limit of its values.
        error: Class of the error for too many.
        pairs: What becomes of the pairs of an object; None = a dict.

    Raises:
        error: There are more entries.
        ValueError: It is no JSON, or no UTF-8.
        RecursionError: It is nested too deeply.
    """
    # Each value beyond the first of its object or list follows a comma; commas in strings are few.
    count = sum(map(raw.count, (b",", b"[", b"{")))
    entries.check(count, f"{path} holds too many entries", error)
    return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=pairs)


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object as a dict.

    Raises:
        ValueError: A name stands twice: of two readers each may take another.
    """
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a name stands twice")
    return content


def read_json_of(
    path: str | Path,
    error: type[PruneEnvError],
    size: Limit = STATE_BYTES,
    entries: Limit = STATE_ENTRIES,
) -> Any:
    """Return the parsed file; errors as those of `opened`, `parse_json` and `without_doubles`."""
    return parse_json(read_bounded(path, size, error), path, entries, error, without_doubles)
