"""The events of one run, read as they come; many pages share one reader."""

import os
import time
from glob import escape
from pathlib import Path
from typing import Any, BinaryIO, Literal

from prune_env.cli.watch.check import read_event, read_header
from prune_env.errors import StateError
from prune_env.utils.events import EVENTS, is_written

State = Literal["waiting", "running", "ended", "died", "damaged"]
MOST_BYTES = 1 << 29
"""Of a file of events; a run writes some megabytes."""

MOST_LINE_BYTES = 1 << 22
PIECE = 1 << 20


class RunLog:
    """Reads the file of events of a run, and goes on reading.

    Args:
        path: The run folder. A run of `purify` that still goes on has none yet: its hidden folder
            beside it is found.
        wait: Whether the run may begin later.

    Attributes:
        events: The events so far, as plain values; the first is the header.
        state: How the run is; a process that ended without a word has died.
        problem: Why nothing more is read, if so.

    Raises:
        StateError: There is no run, or it is damaged or of another version.
    """

    def __init__(self, path: Path, *, wait: bool = False) -> None:
        self.path = path
        self.events: list[dict[str, Any]] = []
        self.state: State = "waiting"
        self.problem: StateError | None = None
        self._since = time.time()
        self._file: BinaryIO | None = None
        self._offset = 0  # of the first line that is not whole yet
        self._lines = 0
        if not wait:
            self._file = find_events(path).open("rb")
            self.poll()
            if self.problem is not None:
                raise self.problem

    @property
    def name(self) -> str:
        """What the page calls the run."""
        return self.path.resolve().name

    @property
    def folder(self) -> Path:
        """Where the run's files are now: `purify` moves them in the end."""
        found = _candidates(self.path)
        return found[0].parent if found else self.path

    def poll(self) -> None:
        """Read what is new; a damaged line ends the reading and is kept in `problem`."""
        if self.problem is not None:
            return
        if self._file is None:
            self._file = self._begun()
        if self._file is None:
            return
        # Looked at before the last events are: a run writes its last one while it holds the file.
        written = is_written(self._file.fileno())
        try:
            self._read(self._file)
        except StateError as error:
            self.problem, self.state = error, "damaged"
            return
        if self.events and self.events[-1]["kind"] == "RunEnded":
            self.state = "ended"
        else:
            self.state = "running" if written else "died"

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _begun(self) -> BinaryIO | None:
        """Open the file of a run that was waited for: not one that ended before."""
        for path in _candidates(self.path):
            file = path.open("rb")
            if os.fstat(file.fileno()).st_mtime >= self._since - 1 and is_written(file.fileno()):
                return file
            file.close()
        return None

    def _read(self, file: BinaryIO) -> None:
        # From the last whole line on: a run that is resumed cuts off what a crash left after it.
        file.seek(self._offset)
        rest = b""
        while piece := file.read(PIECE):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self._take(line)
                self._offset += len(line) + 1
            if len(rest) > MOST_LINE_BYTES or self._offset > MOST_BYTES:
                raise StateError(
                    f"{self.path / EVENTS} is too large",
                    expected=f"lines of {MOST_LINE_BYTES:,} bytes, {MOST_BYTES:,} in all, at most",
                    remedy="is it the file of a run?",
                )

    def _take(self, line: bytes) -> None:
        self._lines += 1
        name = str(self.path / EVENTS)
        if self._lines == 1:
            self.events.append(read_header(line, name))
        elif (event := read_event(line, name, self._lines)) is not None:
            self.events.append(event)


def find_events(path: Path) -> Path:
    """Return the file of events of a run.

    Raises:
        StateError: There is none.
    """
    found = _candidates(path)
    if found:
        if not found[0].stat().st_size:
            raise StateError(
                f"{found[0]} is empty", expected="the events of a run", remedy="run it again"
            )
        return found[0]
    if not path.exists():
        raise StateError(
            f"No run {path}",
            expected="the folder of a run of purify, train, benchmark or demo",
            remedy="check the path; with --wait the run may begin later",
        )
    if path.is_dir() and any((path / name).exists() for name in RUN_FILES):
        raise StateError(
            f"The run in {path} left no {EVENTS}",
            expected="a run of this version",
            actual="a run of an older one, or one whose file was deleted",
            remedy="run it again in a new folder",
        )
    raise StateError(
        f"{path} is not the folder of a run",
        expected=f"a folder with {EVENTS}",
        actual="a folder without" if path.is_dir() else "a file",
        remedy="give the --out of purify, train, benchmark or demo",
    )


RUN_FILES = ("report.json", "settings.json", "benchmark.json", "result.json", "mask.json")


def _candidates(path: Path) -> list[Path]:
    """Return files of events that may be the run's, the newest first."""
    own = path / EVENTS
    if own.is_file():
        return [own]
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        return []
    place = Path(os.path.realpath(path))  # see `utils.output`
    hidden = place.parent.glob(f".{escape(place.name)}.*/{EVENTS}")
    return sorted(hidden, key=lambda each: each.stat().st_mtime, reverse=True)
