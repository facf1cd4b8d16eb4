"""Leases: locks that are files, so that they hold on file systems that know no locks.

A lease is the file `<path>.lock`. It names its holder, who touches it while it lives. A holder of
this machine that died is found out at once, also where nothing collects the dead (a container whose
first process is no init); one of another machine once its file has not been
touched for `LEASE_S` seconds of the clock of whoever watches it. A holder that was stopped for
longer, such as a laptop that slept, may meet a second one: whatever is made under a lease must be
put in its place whole, so that it does not matter who was first.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path

from filelock import SoftFileLease, Timeout

from prune_env.errors import StateError
from prune_env.utils.output import real_place

LOCK = ".lock"

LEASE_S = 60.0
"""All processes of a run must agree on it, also those of another release."""

LOOK_S = 1.0
"""How often one that waits looks anew: a holder that ends uncollected is not seen by a lease."""

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
    lease = _watched.pop(path, None) or SoftFileLease(_file(path), lease_duration=LEASE_S)
    if not _acquire(lease, _file(path), inf if wait is True else float(wait)):
        _watched[path] = lease
        yield False
        return
    try:
        yield True
    finally:
        lease.release()


@contextmanager
def alone(path: Path, doing: str) -> Iterator[None]:
    """Be the only process that goes on with `path` while the body runs, which reads it and adds.

    Args:
        path: A file, a folder or a name for the lease, whether it exists or not; every link to it
            counts as itself.
        doing: What such a process does, for the message, such as "records into FILE".

    Raises:
        StateError: Another process goes on with it.
    """
    place = real_place(path)
    # A moment longer than for a silent holder: one that only looks, see below, is gone by then.
    with locked(place, wait=silent_s(place) + LOOK_S) as held:
        if not held:
            raise StateError(
                f"Another process {doing}", remedy="wait for it, or choose another --out"
            )
        yield


def check_alone(path: Path, doing: str) -> None:
    """Find out before the work whether another process goes on with `path`; see `alone`.

    Raises:
        StateError: One does.
    """
    if real_place(path).parent.is_dir():  # a lease would make the folder; in none, nobody works
        with alone(path, doing):
            pass


def _acquire(lease: SoftFileLease, file: Path, wait_s: float) -> bool:
    """Acquire a lease within some time; returns whether it was."""
    end = time.monotonic() + wait_s
    while True:
        _remove_nameless(file)
        _remove_of_zombie(file)
        left = end - time.monotonic()
        try:
            lease.acquire(timeout=max(0.0, min(left, LOOK_S)))
            return True
        except Timeout:
            if left <= LOOK_S:
                return False


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
    """Remove a lock that names no holder and is not new: a lease waits for it for ever.

    Releases that locked with the system's locks left such files; a lease writes its name at once,
    unless it is killed in that moment.
    """
    with suppress(OSError):
        found = file.stat()
        if found.st_size == 0 and time.time() - found.st_mtime > LEASE_S:
            file.unlink()


def _remove_of_zombie(file: Path) -> None:
    """Remove a lock whose holder has ended and was not collected: a lease takes it for alive."""
    with suppress(OSError, ValueError, KeyError):
        lines = (line.partition("=") for line in file.read_text().splitlines())
        holder = {name: int(value) for name, _, value in lines if name in ("pid", "start")}
        process = Path(f"/proc/{holder['pid']}/stat").read_bytes().rpartition(b")")[2].split()
        state, start_ticks = process[0], int(process[19])
        # The start in a lock is the boot's number and the ticks since then: that very process.
        boot = int(Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", ""), 16)
        if state == b"Z" and holder["start"] == boot << 64 | start_ticks:
            file.unlink()


def _file(path: Path) -> Path:
    return path.with_name(f"{path.name}{LOCK}")
