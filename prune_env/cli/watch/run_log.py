"""The events of one run, read as they come; many pages share one reader."""

import os
import time
from glob import escape
from pathlib import Path
from typing import Any, BinaryIO, Literal

from prune_env.cli.watch.check import Shapes, read_event, read_header
from prune_env.errors import StateError, printable
from prune_env.utils.event_kinds import MasksCounted, MaskSet, PhaseAdvanced, RunEnded
from prune_env.utils.events import EVENTS, is_written

State = Literal["waiting", "running", "ended", "died", "damaged"]
MOST_BYTES = 1 << 26
"""Of a file of events: an hour of a run writes some megabytes. What is beyond is left out."""

MOST_EVENTS = 200_000
"""That are read, of which a run's masks are most; likewise."""

MOST_ENTRIES = 2_000_000
"""JSON values in them; likewise."""

MOST_LINE_BYTES = 1 << 22
MOST_LINE_ENTRIES = 250_000
PIECE = 1 << 20
FLUSH_S = 1.0
"""Between two times that what is superseded soon is told, in a run that goes on."""

_PREFIX = b'{"kind": "%b"'
SUPERSEDED = tuple(_PREFIX % kind.__name__.encode() for kind in (PhaseAdvanced, MasksCounted))
"""How lines of events begin of which the page shows the last one: the others are passed over."""

ENDED = _PREFIX % RunEnded.__name__.encode()
UNTOUCHED = _PREFIX % MaskSet.__name__.encode()
"""Of the kind, told as often, to which their order does not matter."""


class RunLog:
    """Reads the file of events of a run, and goes on reading.

    Args:
        path: The run folder. A run of `purify` that still goes on has none yet: its hidden folder
            beside it is found.
        wait: Whether the run may begin later.

    Attributes:
        events: The events so far, as plain values; the first is the header.
        state: How the run is; a process that ended without a word has died.
        problem: Why nothing more is read, if so: a damaged line, or more events than are kept.

    Raises:
        StateError: There is no run, or it is damaged or of another version.
    """

    def __init__(self, path: Path, *, wait: bool = False) -> None:
        self.path = path
        self._told = str(path / EVENTS)
        self.events: list[dict[str, Any]] = []
        self.state: State = "waiting"
        self.problem: StateError | None = None
        self._since = time.time()
        self._file: BinaryIO | None = None
        self._offset = 0  # of the first line that is not whole yet
        self._lines = 0
        self._read_events = 0
        self._entries = 0
        self._held: dict[bytes, tuple[int, bytes]] = {}  # the last line of each superseded kind
        self._shapes = Shapes()
        self._flushed = 0.0
        self._cut = False  # whether the rest of the file is left out
        if not wait:
            self._file = find_events(path).open("rb")
            self.poll()
            if (damage := self.damage) is not None:
                raise damage

    @property
    def damage(self) -> StateError | None:
        """Return why the file cannot be read on; a file that is too long can be shown."""
        return None if self._cut else self.problem

    @property
    def name(self) -> str:
        """What the page calls the run; a name that is no UTF-8 is spelt out."""
        return printable(self.path.resolve().name)

    @property
    def folder(self) -> Path:
        """Where the run's files are now: `purify` moves them in the end."""
        found = _candidates(self.path)
        return found[0].parent if found else self.path

    def poll(self) -> None:
        """Read what is new; a damaged line ends the reading and is kept in `problem`.

        So does one beyond what is kept, but how the run is, and its end, are told all the same.
        """
        if self.state == "damaged":
            return
        if self._file is None:
            self._file = self._begun()
        if self._file is None:
            return
        # Looked at before the last events are: a run writes its last one while it holds the file.
        written = is_written(self._file.fileno())
        try:
            if not self._cut:
                self._read(self._file)
                self._flush(at_once=not written)
            elif not written:
                self._read_end(self._file)
        except StateError as error:
            self.problem, self.state = error, "damaged"
            return
        resumed = written and self._cut  # what it tells since is left out
        if self.events and self.events[-1]["kind"] == "RunEnded" and not resumed:
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
                self._lines += 1
                if self._offset + len(line) >= MOST_BYTES or not self._take(line):
                    self._leave_out(file)
                    return
                self._offset += len(line) + 1
            if len(rest) > MOST_LINE_BYTES:
                raise StateError(
                    f"{self._told} is too large",
                    expected=f"lines of {MOST_LINE_BYTES:,} bytes at most",
                    remedy="is it the file of a run?",
                )

    def _take(self, line: bytes) -> bool:
        """Take the next line; return whether there was room for it."""
        for kind in SUPERSEDED:
            if self._lines > 1 and line.startswith(kind):
                self._held[kind] = self._lines, line
                return True
        if self._held and not line.startswith(UNTOUCHED):
            self._flush(at_once=True)
        return self._keep(self._lines, line)

    def _flush(self, *, at_once: bool) -> None:
        """Keep the held lines, as long as there is room."""
        if at_once or time.monotonic() >= self._flushed + FLUSH_S:
            self._flushed = time.monotonic()
            held, self._held = sorted(self._held.values()), {}
            for number, line in held:
                self._keep(number, line)

    def _keep(self, number: int, line: bytes) -> bool:
        """Append the event of a line unless there is no room; return whether there was."""
        # Counted as it stands there: a value of two bytes takes forty times as much in memory.
        entries = line.count(b",") + line.count(b"[") + line.count(b"{")
        name = self._told
        if entries > MOST_LINE_ENTRIES:
            raise StateError(
                f"Line {number} of {name} is too large",
                expected=f"up to {MOST_LINE_ENTRIES:,} values",
                actual=f"{entries:,}",
                remedy="is it the file of a run?",
            )
        if self._entries + entries > MOST_ENTRIES or self._read_events >= MOST_EVENTS:
            return False
        self._entries += entries
        self._read_events += 1
        event = read_event(line, name, number) if number > 1 else read_header(line, name)
        if event is not None:
            self.events.append(self._shapes.fit(event, name, number))
        return True

    def _leave_out(self, file: BinaryIO) -> None:
        """Say that the rest is not shown, and how the run ended if it has."""
        self.problem = StateError(
            f"{self._told} is too long: its lines from {self._lines:,} on are left out",
            expected=f"up to {MOST_BYTES:,} bytes, {MOST_EVENTS:,} events, {MOST_ENTRIES:,} values",
            remedy="what is shown is right; the results of the run are in its folder",
        )
        self._cut, self._held = True, {}
        self._read_end(file)

    def _read_end(self, file: BinaryIO) -> None:
        """Take the last line of a file whose middle is left out, if it is the end of the run."""
        size = file.seek(0, os.SEEK_END)
        if size == self._offset or self.events[-1]["kind"] == "RunEnded":
            return
        self._offset = size
        file.seek(max(0, size - PIECE))
        *_, line, rest = [b"", b"", *file.read(PIECE).split(b"\n")]
        if rest or not line.startswith(ENDED):
            return
        if (event := read_event(line, self._told, self._lines)) is not None:
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
    if any(path.glob(f"*/{EVENTS}")):
        raise StateError(
            f"{path} holds several runs",
            expected="one of them, or two",
            remedy=f"prune-env watch {path}/NAME",
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
