"""Things that several processes need and one of them makes; a lock dies with its process."""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from prune_env.errors import StateError
from prune_env.files import new_folder, read_json, sha256_of, write_json

log = logging.getLogger(__name__)

HASHES = "sha256.json"
"""In a folder that is made once: the SHA-256 of every file that it was made with, by its path."""


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
        folder: Appears whole or not at all. What it was made with must stay as it was; files may
            be added directly in it.
        fill: Is given an empty folder to fill.

    Raises:
        StateError: A file was changed, cut short or taken away since, or one was put among them.
    """
    if not folder.exists():
        _make(folder, fill)
    _check_unchanged(folder)


def _make(folder: Path, fill: Callable[[Path], None]) -> None:
    with locked(folder):
        if folder.exists():  # another process made it meanwhile
            return
        for leftover in folder.parent.glob(f".{folder.name}.*"):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        with new_folder(folder) as temporary:
            fill(temporary)
            write_json(temporary / HASHES, _hashes(temporary))


def _check_unchanged(folder: Path) -> None:
    path, found = folder / HASHES, _hashes(folder)
    if not path.exists():
        # Made by a release that kept no hashes, maybe in hours: its files count as they are now.
        log.info("%s holds no hashes yet; those of its files are kept from now on.", folder)
        with suppress(OSError):  # a cache that others may only read
            write_json(path, found)
        return
    try:
        made_with = read_json(path)
    except StateError:
        made_with = None
    if not isinstance(made_with, dict):
        raise _changed(path, "the SHA-256 of each file", "something else", folder)
    added = {name for name in found if "/" in name}  # beside them, results may be kept
    for name in sorted({*made_with, *added}):
        if made_with.get(name) != found.get(name):
            expected, actual = (
                f"SHA-256 {each[name]}" if name in each else "no such file"
                for each in (made_with, found)
            )
            raise _changed(folder / name, expected, actual, folder)


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _changed(path: Path, expected: str, actual: str, folder: Path) -> StateError:
    return StateError(
        f"{path} is not as it was made",
        expected=expected,
        actual=actual,
        remedy=f"delete {folder}; it is made again",
    )
