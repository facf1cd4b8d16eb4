"""A file that is written beside its place, hidden, and removed if its writer died.

`.NAME.prune-env-xxxxxxxx` becomes NAME when it is whole. Its writer holds the system's lock on it
(`flock`), which ends with the process however that ends: one that is not locked belongs to nobody.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prune_env.utils.handle_lock import lock
from prune_env.utils.output import NEW, RANDOM, hidden


@contextmanager
def hidden_file(path: Path) -> Iterator[tuple[int, str]]:
    """Give a new hidden file beside `path` to fill and to rename; it goes if the body fails.

    Those that killed processes left of the same path go too.

    Args:
        path: What it is to become, in a folder that is there.

    Yields:
        A handle to write with, which the body closes, and the name of the file.

    Raises:
        OSError: It cannot be made or filled. It names `path`: a full disk names no file, and users
            do not know the hidden one.
    """
    try:
        with _new(path) as made:
            yield made
    except OSError as error:
        error.filename = str(path)
        raise


@contextmanager
def _new(path: Path) -> Iterator[tuple[int, str]]:
    """Give a new hidden file, see `hidden_file`."""
    _remove_leftovers(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=hidden(path))
    # The lock is that of both handles: it holds until the file has its name.
    kept = None
    with suppress(BlockingIOError):  # of who looks for leftovers at this moment
        kept = os.dup(handle) if lock(handle) else None
    try:
        yield handle, name
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    finally:
        if kept is not None:
            os.close(kept)


def _remove_leftovers(path: Path) -> None:
    """Remove the hidden files of a path whose writers were killed."""
    prefix = hidden(path)
    with suppress(OSError):  # a folder that may be written, and not be listed
        for entry in os.scandir(path.parent):
            if not entry.name.startswith(prefix) or len(entry.name) != len(prefix) + RANDOM:
                continue
            with suppress(OSError):
                if entry.is_file(follow_symlinks=False) and _is_left(entry):
                    Path(entry.path).unlink()


def _is_left(entry: os.DirEntry[str]) -> bool:
    """Return whether no process writes a hidden file; one that is new may not be locked yet.

    Where files have no locks nobody can tell, and leftovers stay.

    Raises:
        BlockingIOError: A process does.
    """
    if time.time() - entry.stat(follow_symlinks=False).st_mtime < NEW:
        return False
    handle = os.open(entry.path, os.O_RDWR)
    try:
        return lock(handle)
    finally:
        os.close(handle)
