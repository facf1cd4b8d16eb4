"""The last few things that were made, so that models of many cells do not fill the memory."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

REMEMBERED = 2
"""Models of this many kinds stay in memory; the others are read back from disk."""


class Remembered(Generic[T]):
    """Makes things by name, and remembers the last `REMEMBERED` that were asked for."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, T] = OrderedDict()

    def get(self, name: str, make: Callable[[], T]) -> T:
        """Return what has this name, made unless it is remembered."""
        if name not in self._kept:
            self._kept[name] = make()
            while len(self._kept) > REMEMBERED:
                self._kept.popitem(last=False)
        self._kept.move_to_end(name)
        return self._kept[name]
