"""What is said of a disk that is full: where it is, under the name that the user knows."""

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prune_env.utils.output import RANDOM, hidden

OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors in which a write names no file."""


@contextmanager
def disk_told(folder: Path, goes_on: Callable[[], str] = str) -> Iterator[None]:
    """Say of a disk that is full where it is, and what stays there.

    Args:
        folder: Where the body writes.
        goes_on: Returns how what was begun goes on; nothing where nothing was.
    """
    try:
        yield
    except OSError as error:
        if error.errno in OF_THE_DISK:
            error.filename = str(folder)
            if note := goes_on():
                error.add_note(note)
        raise


def wanted(path: Path) -> Path:
    """Return where something will stand that is written hidden: nobody looks for it elsewhere."""
    return Path(*(_WHILE_MADE.sub(r"\1", part) for part in path.parts))


_START, _END = map(re.escape, hidden(Path("NAME")).split("NAME"))
_WHILE_MADE = re.compile(rf"\A{_START}(.+){_END}.{{{RANDOM}}}\Z", re.DOTALL)
