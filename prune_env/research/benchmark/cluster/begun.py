"""Where tasks were begun. The actor is a process of its own: this module imports nothing heavy."""

import time


class Begun:
    """An actor beside the driver: where tasks were begun, and how long ago."""

    def __init__(self) -> None:
        self._tasks: dict[str, tuple[str, float]] = {}

    def note(self, name: str, node: str) -> None:
        """Note that a task was begun; one that is tried again is begun again."""
        self._tasks[name] = node, time.monotonic()

    def told(self) -> dict[str, tuple[str, float]]:
        """Return the machine and the seconds since the beginning, by the name of the task."""
        now = time.monotonic()
        return {name: (node, now - since) for name, (node, since) in self._tasks.items()}
