"""What is said of a disk that is full: where it is, under the name that the user knows."""

import errno
import os
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
            if not _is_elsewhere(error.filename, folder):
                error.filename = str(folder)
            if note := goes_on():
                error.add_note(note)
        raise


def _is_elsewhere(name: object, folder: Path) -> bool:
    """Return whether a file lies on another disk than a folder, as a cache may."""
    return isinstance(name, str) and _disk_of(Path(name)) != _disk_of(folder)


def _disk_of(path: Path) -> int:
    """Return which device a path is on, or would be."""
    there = next(each for each in (path, *path.absolute().parents) if os.path.exists(each))
    return os.stat(there).st_dev


def tells_full_disk(error: BaseException) -> bool:
    """Return whether an error is of a disk: some libraries write on their own, and raise others."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in OF_THE_DISK
    return any(os.strerror(number) in str(error) for number in OF_THE_DISK)


def wanted(path: Path) -> Path:
    """Return where something will stand that is written hidden: nobody looks for it elsewhere."""
    return Path(*(_WHILE_MADE.sub(r"\1", part) for part in path.parts))


_START, _END = map(re.escape, hidden(Path("NAME")).split("NAME"))
_WHILE_MADE = re.compile(rf"\A{_START}(.+){_END}.{{{RANDOM}}}\Z", re.DOTALL)
