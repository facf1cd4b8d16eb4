"""Progress bars: silent in the library, drawn on stderr when the command line asks for them."""

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

_console: Console | None = None
_shown = False
"""Whether a bar is being drawn."""


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
    if _console is None or _shown:
        yield lambda done: None
        return
    _shown = True
    try:
        with _drawn(_console, description, total) as advance:
            yield advance
    finally:
        _shown = False


@contextmanager
def _drawn(console: Console, description: str, total: int) -> Iterator[Callable[[int], None]]:
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
