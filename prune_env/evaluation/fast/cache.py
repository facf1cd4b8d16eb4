"""States that may be needed again, up to a number of bytes."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Something that says how much memory it holds."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        ...


V = TypeVar("V", bound=Sized)


class ByteCache(Generic[V]):
    """Values by key; when they outgrow the limit, the one used longest ago goes first.

    Args:
        max_bytes: What all values together may hold; a larger single value is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._values: OrderedDict[Hashable, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> V | None:
        """Return a value and count it as just used, or None if it is not there."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: Hashable, value: V) -> None:
        """Keep a value, in place of an older one of the same key."""
        self.drop(key)
        if value.nbytes > self.max_bytes:
            return
        while self.nbytes + value.nbytes > self.max_bytes:
            self.drop(next(iter(self._values)))
        self._values[key] = value
        self.nbytes += value.nbytes

    def drop(self, key: Hashable) -> None:
        """Forget a value, if it is there."""
        value = self._values.pop(key, None)
        if value is not None:
            self.nbytes -= value.nbytes

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self.nbytes = 0
