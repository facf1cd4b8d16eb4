"""Large matrices that are used again, since fresh memory from the system is slow to touch."""

import weakref
from collections import defaultdict
from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Lease:
    """Holds the memory of one matrix; when the last reference goes, the memory is free again.

    Attributes:
        matrix: (R, C), not initialised. It must not be used after the lease is gone.
        nbytes: Bytes of memory, used or not.
    """

    matrix: torch.Tensor
    nbytes: int


class Workspace:
    """Lends matrices.

    Args:
        dtype: Of every matrix.
        device: Of every matrix.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype = dtype
        self._device = device
        self._free: dict[int, list[torch.Tensor]] = defaultdict(list)

    def lend(self, rows: int, columns: int, most_columns: int) -> Lease:
        """Return a matrix (rows, columns) in memory that would hold `most_columns`.

        Matrices of several widths share memory if the most is the same.
        """
        size = rows * most_columns
        free = self._free[size]
        flat = free.pop() if free else torch.empty(size, dtype=self._dtype, device=self._device)
        lease = Lease(flat[: rows * columns].view(rows, columns), flat.untyped_storage().nbytes())
        weakref.finalize(lease, free.append, flat).atexit = False
        return lease

    def clear(self) -> None:
        """Give the memory that nobody holds back to the system."""
        for free in self._free.values():
            free.clear()


class Scratch:
    """Memory for what is needed only until the next call: one vector that grows."""

    def __init__(self) -> None:
        self._flat = torch.empty(0)

    def take(self, size: int, like: torch.Tensor) -> torch.Tensor:
        """Return a vector (size,), not initialised, in place of the one taken before.

        Args:
            size: Elements.
            like: Has the precision and the device; they are those of every call.
        """
        if size > len(self._flat):
            self._flat = like.new_empty(size)
        return self._flat[:size]
