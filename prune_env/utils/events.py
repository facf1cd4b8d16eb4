"""What a run tells while it goes on: `events.jsonl` in its folder, for `prune-env watch`.

The first line names the format, its version, the verb and the time; each further line is an event
of `event_kinds`: `{"kind": ..., "t": seconds since the first line, ...}`. Lines are only ever
appended, each at once, so a crash leaves every whole line; at most the last one is damaged, and it
goes when the run is resumed. The file stays locked while it is written, which tells a reader that
the run is alive. A file that cannot be written is given up with a warning: it never ends a run.

The file holds phrases that were drawn from clean data, so it is private: it is never uploaded.
"""

import json
import logging
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from prune_env.utils.event_kinds import Event, RunEnded, Status
from prune_env.utils.files import write_json

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)

EVENTS = "events.jsonl"
ORIGIN = "watch.json"
"""Says which model and data of this machine a run is of, for `prune-env watch`; private too."""

FORMAT, VERSION = "prune-env-events", 1
INTERVAL_S = 0.2
"""Least time between two events of a kind that comes often, see `due`."""

TRIES = 20
"""To lock the file."""

_current: "EventLog | None" = None
_origin: Mapping[str, Any] | None = None


class EventLog:
    """Appends events to a file, which is private to the user.

    Args:
        path: New; or that of an earlier call, which this one resumes.
        verb: What runs.

    Raises:
        OSError: The file cannot be opened, or another process writes it.
    """

    def __init__(self, path: Path, verb: str) -> None:
        self.process = os.getpid()
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._file: BinaryIO = os.fdopen(handle, "r+b", buffering=0)
        try:
            _lock(handle)
            started = _resume(self._file)
        except OSError:
            self._file.close()
            raise
        self._offset = 0.0 if started is None else max(0.0, time.time() - started)
        self._opened = time.perf_counter()
        self._last: dict[object, float] = {}
        if started is None:
            header = {"format": FORMAT, "version": VERSION, "verb": verb}
            header["started"] = datetime.now(UTC).isoformat()
            self._file.write(f"{json.dumps(header)}\n".encode())

    def write(self, event: Event) -> None:
        """Append an event."""
        seconds = self._offset + time.perf_counter() - self._opened
        told = {"kind": type(event).__name__, "t": round(seconds, 4), **vars(event)}
        try:
            text = json.dumps(told, allow_nan=False)
        except ValueError:
            text = json.dumps(_finite(told), allow_nan=False)
        line = f"{text}\n".encode()
        if self._file.write(line) != len(line):
            raise OSError("the line was cut short")

    def due(self, kind: type[Event]) -> bool:
        """Whether no event of this kind was called due within the last `INTERVAL_S`."""
        now, last = time.perf_counter(), self._last.get(kind, -math.inf)
        if now - last < INTERVAL_S:
            return False
        self._last[kind] = now
        return True

    def close(self) -> None:
        """Close the file, which unlocks it."""
        self._file.close()


@contextmanager
def recording(folder: Path, verb: str) -> Iterator[None]:
    """Write what the body tells by `emit` to `folder/events.jsonl`; nested calls write nothing new.

    Args:
        folder: Of the run; it exists.
        verb: What runs, such as `purify`.
    """
    global _current  # noqa: PLW0603 - one run a process, as there is one terminal
    if _current is not None:
        yield
        return
    try:
        if _origin is not None:  # first: a page that waits for the events reads it at once
            write_json(folder / ORIGIN, dict(_origin), private=True)
        _current = EventLog(folder / EVENTS, verb)
    except OSError as error:
        log.warning("This run cannot be watched: %s", error)
    try:
        yield
        emit(RunEnded("done"))
    except BaseException as error:
        stopped: Status = "failed" if isinstance(error, Exception) else "interrupted"
        emit(RunEnded(stopped, str(error)[:2000] or type(error).__name__))
        raise
    finally:
        _give_up()


@contextmanager
def origin(told: Mapping[str, Any] | None) -> Iterator[None]:
    """Let recordings in the body keep in `watch.json` what they are of.

    Args:
        told: JSON values: `model`, `data` and how the data is read.
    """
    global _origin  # noqa: PLW0603 - see `recording`
    _origin = told
    try:
        yield
    finally:
        _origin = None


def recorded() -> bool:
    """Whether anything is recorded in this process: else an event need not even be made."""
    return _current is not None and _current.process == os.getpid()


def emit(event: Event, *, sometimes: bool = False) -> None:
    """Write an event, if this process records a run.

    Args:
        event: What is told.
        sometimes: Leave it out where one of its kind was due just now.
    """
    if _current is None or _current.process != os.getpid():  # a fork writes nothing
        return
    if sometimes and not _current.due(type(event)):
        return
    try:
        _current.write(event)
    except OSError as error:
        log.warning("From here on, this run cannot be watched: %s", error)
        _give_up()


def due(kind: type[Event]) -> bool:
    """Whether a run is recorded, and no event of this kind was called due just now."""
    return _current is not None and _current.due(kind)


def is_written(handle: int) -> bool:
    """Whether another process still writes an open file of events."""
    if sys.platform == "win32":
        return True  # it cannot be told there
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(handle, fcntl.LOCK_UN)
    return False


def _lock(handle: int) -> None:
    """Lock an open file until it is closed; a process that ends, however it ends, unlocks it.

    Raises:
        OSError: Another process writes it.
    """
    if sys.platform == "win32":
        return None
    for _ in range(TRIES - 1):  # a reader holds it for some microseconds
        with suppress(BlockingIOError):
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.01)
    return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _give_up() -> None:
    global _current  # noqa: PLW0603 - see `recording`
    if _current is not None:
        with suppress(OSError):
            _current.close()
    _current = None


def _resume(file: BinaryIO) -> float | None:
    """Cut a damaged last line off; return when the run began, None where there is no such run."""
    content = file.read()
    whole = content.rfind(b"\n") + 1
    with suppress(ValueError, TypeError, KeyError):
        header = json.loads(content[:whole].split(b"\n", 1)[0])
        if (header["format"], header["version"]) == (FORMAT, VERSION):
            file.truncate(whole)
            return datetime.fromisoformat(header["started"]).timestamp()
    file.truncate(0)
    return None


def _finite(value: Any) -> Any:
    """Return JSON values with None in place of NaN and Inf."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
