"""Ctrl-C and SIGTERM while an agent learns: finish what is half done, save, and leave."""

import logging
import signal
import time
from types import FrameType, TracebackType
from typing import Any, Self

log = logging.getLogger(__name__)
SIGNALS = (signal.SIGINT, signal.SIGTERM)
SIGALRM = 14
"""Which Windows has no name for."""


class Interrupt:
    """Notes the first signal while the body runs; a second Ctrl-C interrupts at once.

    Only the main thread of Python can be told of signals; elsewhere nothing is noted.

    Args:
        after_s: Note SIGALRM, without there being one, when the body has run for so long.
        earlier: That of a longer piece of work, whose signal counts as one of this.

    Attributes:
        signal: Number of the signal, None if there was none.

    Example:
        >>> with Interrupt() as interrupt:
        ...     interrupt()
        False
    """

    def __init__(self, after_s: float | None = None, earlier: "Interrupt | None" = None) -> None:
        self.signal: int | None = None if earlier is None else earlier.signal
        self._end = None if after_s is None else time.monotonic() + after_s
        self._previous: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Return whether to stop."""
        if self.signal is None and self._end is not None and time.monotonic() > self._end:
            self.signal = SIGALRM
        return self.signal is not None

    def __enter__(self) -> Self:
        try:
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._note)
        except ValueError:
            log.debug("not in the main thread: signals are left alone")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            for known in self._previous:  # while the interrupt unwinds
                signal.signal(known, signal.SIG_IGN)
            raise KeyboardInterrupt
        self.signal = number
        log.warning("Stopping: the agent is saved first. Press Ctrl-C again to leave at once.")
