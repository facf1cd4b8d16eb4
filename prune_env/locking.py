"""Things that several processes need and one of them makes; a lock dies with its process."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from prune_env.files import new_folder


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of `path` while the body runs.

    The operating system releases the lock of a process that ends, however it ends, so a killed
    process leaves nothing that must be cleaned up.

    Args:
        path: What is locked; the lock is the file `<path>.lock`, whether `path` exists or not.
        wait: Wait for another holder; otherwise give up at once.

    Yields:
        Whether the lock is held; always True if `wait`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def made_once(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder unless it exists; of several processes one makes it and the others wait.

    Args:
        folder: Appears whole or not at all.
        fill: Is given an empty folder to fill.
    """
    with locked(folder):
        if folder.exists():
            return
        for leftover in folder.parent.glob(f".{folder.name}.*"):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        with new_folder(folder) as temporary:
            fill(temporary)
