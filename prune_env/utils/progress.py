"""Progress: silent in the library, drawn on stderr when the command line asks for it.

Where a run is recorded, its phases are told there too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from prune_env.utils.event_kinds import PhaseAdvanced, PhaseBegun, PhaseEnded
from prune_env.utils.events import emit, emit_sometimes, recorded

_console: Console | None = None
_shown = False
"""Whether something is in progress, so that what runs inside shows nothing of its own."""


def show_on(console: Console | None) -> None:
    """Draw the bars of this process on `console`; None switches them off."""
    global _console  # noqa: PLW0603 - one terminal a process
    _console = console


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

            def advance(done: int) -> None:
                draw(done)
                emit_sometimes(PhaseAdvanced(int(done)))

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
        return
    if not console.is_terminal:  # a log file gets a line, not a bar
        console.print(f"{description} ...", highlight=False)
        yield lambda done: None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)
