"""Leases: locks that are files, so that they hold on file systems that know no locks.

A lease is the file `<path>.lock`. It names its holder, who touches it while it lives. A holder of
this machine that died is found out at once; one of another machine once its file has not been
touched for `LEASE_S` seconds of the clock of whoever watches it. A holder that was stopped for
longer, such as a laptop that slept, may meet a second one: whatever is made under a lease must be
put in its place whole, so that it does not matter who was first.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import SoftFileLease, Timeout

LOCK = ".lock"

LEASE_S = 60.0
"""All processes of a run must agree on it, also those of another release."""

_watched: dict[Path, SoftFileLease] = {}
"""Leases that others held when they were last tried: each knows since when its file is as it is."""


@contextmanager
def locked(path: Path, *, wait: bool | float = True) -> Iterator[bool]:
    """Hold the lease of `path` while the body runs.

    Args:
        path: What is locked, whether it exists or not.
        wait: Wait for another holder; a number of seconds; or give up at once.

    Yields:
        Whether the lease is held; always True if `wait` is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_nameless(_file(path))
    lease = _watched.pop(path, None) or SoftFileLease(_file(path), lease_duration=LEASE_S)
    try:
        lease.acquire(timeout=-1 if wait is True else float(wait))
    except Timeout:
        _watched[path] = lease
        yield False
        return
    try:
        yield True
    finally:
        lease.release()


def silent_s(path: Path) -> float:
    """Return how long it is worth to wait for the lease of `path`, in seconds.

    That is 0 if it is free or its holder was heard of, and else the time until it expires.
    """
    try:
        silence = time.time() - _file(path).stat().st_mtime
    except OSError:
        return 0.0
    return LEASE_S + 5 if silence > LEASE_S / 2 else 0.0


def _remove_nameless(file: Path) -> None:
    """Remove a lock that names no holder: a lease waits for it for ever.

    Releases that locked with the system's locks left such files; a lease writes its name at once.
    """
    with suppress(OSError):
        found = file.stat()
        if found.st_size == 0 and time.time() - found.st_mtime > LEASE_S:
            file.unlink()


def _file(path: Path) -> Path:
    return path.with_name(f"{path.name}{LOCK}")
