"""What the program says besides its results: errors, log lines, warnings; and how it is stopped."""

import io
import logging
import math
import os
import re
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.console import Console
from rich.logging import RichHandler

from prune_env.errors import PruneEnvError, printable
from prune_env.utils import progress
from prune_env.utils.memory import out_of_memory
from prune_env.utils.registry import FOREIGN

UNWINDING = 10.0
"""Seconds for which further signals are ignored: what is unfinished is being removed."""
AGAIN = 0.05
"""Seconds after which a signal that was lost is sent again."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""Which Gymnasium puts round its warnings."""

LEFT = "Nothing half written is left."


class Terminated(BaseException):
    """SIGTERM arrived; unwinds like Ctrl-C, so that unfinished folders are removed."""


def fit_surroundings() -> None:
    """Let output take every name, and ignore a width of no columns.

    A stream in ASCII or cp1252 would end the program, all work done, at a name that it cannot
    spell. `COLUMNS=0` is what shells export that were told no size, as in containers: everything
    would be cut to nothing.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    if re.fullmatch("0+", os.environ.get("COLUMNS", "")):
        del os.environ["COLUMNS"]


@contextmanager
def speaking_on(terminal: Console, *, debug: bool = False) -> Iterator[list[int]]:
    """Send progress bars, log lines and warnings to a terminal; make signals unwind, once.

    Whatever a library logs may hold names from a stranger's files, which are shown and do nothing.
    The list gets the signal that unwinds: a library may make an error of its own of it.

    Args:
        terminal: Where to.
        debug: Show log lines that are for those who work on the program, and where errors in
            threads come from.
    """
    logger = logging.getLogger("prune_env")
    handler = RichHandler(console=terminal, show_path=False, show_time=False, markup=False)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    logger.propagate = False
    progress.show_on(terminal)
    make_record, thread_hook = logging.getLogRecordFactory(), threading.excepthook
    logging.setLogRecordFactory(_harmless(make_record))
    if not debug:
        threading.excepthook = lambda told: logger.warning(
            "A thread stopped: %s: %s", told.exc_type.__name__, told.exc_value
        )
    try:
        with warnings.catch_warnings(), _stopping_once() as signals:
            warnings.showwarning = lambda message, *_, **__: logger.warning(
                "%s", _COLOURS.sub("", str(message))
            )
            yield signals
    finally:
        logging.setLogRecordFactory(make_record)
        threading.excepthook = thread_hook
        progress.show_on(None)
        logger.removeHandler(handler)
        logger.propagate = True


def _harmless(make: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """Return a maker of log records whose messages are on one line, and without commands."""

    def made(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = make(*arguments, **named)
        try:
            record.msg, record.args = printable(record.getMessage()), ()
        except Exception:  # a library's mistake, which the handler tells
            return record
        return record

    return made


@contextmanager
def _stopping_once() -> Iterator[list[int]]:
    """Let the first SIGINT or SIGTERM unwind; ignore those that follow while it does."""
    signals: list[int] = []
    since = -math.inf

    def again(told: "sys.UnraisableHookArgs") -> None:
        """Send a signal once more that came in a finaliser, where Python drops what is raised."""
        nonlocal since
        if signals and isinstance(told.exc_value, KeyboardInterrupt | Terminated):
            since = -math.inf
            threading.Timer(AGAIN, _send, signals).start()
        else:
            hook(told)

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal since
        if time.monotonic() - since < UNWINDING:
            return
        since = time.monotonic()
        signals[:] = [number]
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    if threading.current_thread() is not threading.main_thread():
        yield signals  # no other thread can be told of signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # a shell starts background jobs so
            signal.signal(number, stop)
    try:
        hook, sys.unraisablehook = sys.unraisablehook, again
        yield signals
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def _send(number: int) -> None:
    os.kill(os.getpid(), number)


def tell_error(terminal: Console, error: BaseException, *, debug: bool = False) -> None:
    """Print one message for whatever went wrong, and with `debug` where."""
    terminal.print("[bold red]error:[/]", end=" ")
    terminal.print(printable(_message(error)), markup=False, highlight=False, soft_wrap=True)
    if debug:
        traceback.print_exception(error, file=sys.stderr)


def _whose(error: BaseException) -> str:
    """Return which distribution of others an error passed, and where; empty if none."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in FOREIGN:
            return f"the distribution {FOREIGN[package]} ({frame.f_code.co_filename}, line {line})"
    return ""


def _message(error: BaseException) -> str:
    if isinstance(error, PruneEnvError):
        return str(error)
    # Libraries raise OSErrors of their own, without a number, for things that are no files.
    if isinstance(error, OSError) and error.errno is not None:
        notes = getattr(error, "__notes__", ())  # of those who know more than the system
        return " ".join(
            (
                f"{error.filename or 'A file'} cannot be read or written: {error.strerror}.",
                f"Remedy: check free space, path and permissions. {LEFT}",
                *notes,
            )
        )
    if isinstance(error, MemoryError | RuntimeError) and out_of_memory(error):
        return (
            "There is not enough memory. Remedy: use a machine with more, or a smaller "
            f"--batch-size, --max-length or model. {LEFT}"
        )
    if whose := _whose(error):
        return (
            f"Code of {whose} failed: {type(error).__name__}: {error!s:.500}. {LEFT} Remedy: "
            "report this to those who wrote it, with what the same command prints with --debug"
        )
    return (
        f"Something that was not foreseen: {type(error).__name__}: {error!s:.500}. Expected: a "
        f"message that names what is wrong. {LEFT} Remedy: if model and data are whole, report "
        "this with what the same command prints with --debug"
    )
