"""Progress: silent in the library, told on stderr when the command line asks for it.

A job has steps, and a step has phases. On a terminal the job and its phase have a line each, with
the time that has gone and that which is to go; elsewhere a phase is a line, with the number of its
step. Where a run is recorded, its phases are told there too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from prune_env.utils.event_kinds import PhaseAdvanced, PhaseBegun, PhaseEnded
from prune_env.utils.events import emit, recorded

LONG = 24 * 3600.0
"""Seconds over which speed is measured: a step may take minutes."""

_console: Console | None = None
_shown = False
"""Whether a phase is in progress, so that what runs inside shows nothing of its own."""
_job: "_Job | None" = None
_said = ""
"""The last line of a phase, which the next one of the same words does not repeat."""


def show_on(console: Console | None) -> None:
    """Draw the bars of this process on `console`; None switches them off."""
    global _console, _said
    _console, _said = console, ""


def _say(console: Console, line: str) -> None:
    """Write the line of a phase, unless it is that of the one before."""
    global _said  # noqa: PLW0603 - one terminal a process
    if line != _said:
        console.print(line, highlight=False, markup=False)
    _said = line


def tell(line: str) -> None:
    """Write a line above the bars, if the command line draws any."""
    if _console is not None:
        _console.print(line, highlight=False, soft_wrap=True)


class _Job:
    """The whole of what was asked for, in steps; phases draw their bars below its own."""

    def __init__(self, console: Console, description: str, steps: int) -> None:
        self._description, self._steps = description, steps
        self._begun = 0
        self.bars = _bars(console)
        self._task: TaskID | None = None

    def begin(self, step: str) -> None:
        """Note that the step before is done, and that this one is begun."""
        self._begun += 1
        named = f"{self._description}: {step}"
        if self._task is None:
            self._task = self.bars.add_task(named, total=self._steps)
        self.bars.update(self._task, description=named, completed=self._begun - 1)

    @property
    def number(self) -> str:
        """Of its step, ahead of the line of a phase; empty before the first."""
        return f"[{self._begun}/{self._steps}] " if self._begun else ""


@contextmanager
def job(description: str, steps: int) -> Iterator[Callable[[str], None]]:
    """Tell how far the whole of the body is; a job inside another one tells nothing.

    Args:
        description: What was asked for, in a word.
        steps: Number of steps.

    Yields:
        A function that is called with the name of each step as it begins.
    """
    global _job  # noqa: PLW0603 - one terminal a process
    if _job is not None or _console is None:
        yield lambda step: None
        return
    _job = _Job(_console, description, steps)
    try:
        if not _console.is_terminal:
            yield _job.begin
            return
        with _job.bars:
            yield _job.begin
    finally:
        _job = None


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar while the body runs; what runs inside it draws none of its own.

    Args:
        description: What is being done, in the words of the user.
        total: Number of units.

    Yields:
        A function that is told how many units are done so far.
    """
    global _shown  # noqa: PLW0603 - one terminal a process
    if _shown or (_console is None and not recorded()):
        yield lambda done: None
        return
    _shown = True
    emit(PhaseBegun(description, int(total)))
    try:
        with _drawn(_console, description, total) as draw:
            told = 0

            def advance(done: int) -> None:
                nonlocal told
                draw(done)
                if int(done) != told:  # some who wait tell the same again and again
                    told = int(done)
                    emit(PhaseAdvanced(told), sometimes=True)

            yield advance
    finally:
        _shown = False
        emit(PhaseEnded())


@contextmanager
def _drawn(
    console: Console | None, description: str, total: int
) -> Iterator[Callable[[int], None]]:
    if console is None:
        yield lambda done: None
    elif not console.is_terminal:  # a log file gets a line, not a bar
        number = "" if _job is None else _job.number
        _say(console, f"{number}{description} ...")
        yield lambda done: None
    elif _job is None:
        with _bars(console) as bars:
            task = bars.add_task(description, total=total)
            yield lambda done: bars.update(task, completed=done)
    else:
        bars = _job.bars
        task = bars.add_task(f"  {description}", total=total)
        try:
            yield lambda done: bars.update(task, completed=done)
        finally:
            bars.remove_task(task)


def _bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("to go"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        speed_estimate_period=LONG,
    )
