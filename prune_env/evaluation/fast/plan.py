"""Sentences of several lengths as one matrix of tokens, without padding inside a batch.

Libraries of matrix products prepare a kernel for each new shape, which costs more than the product
itself. So all chunks have the same number of rows, rounded up; the rows left over are never read.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

_WIDEST_GROUP = 1.5  # the longest sentence of a group over the shortest


@dataclass(frozen=True)
class Run:
    """Sentences of one length that lie side by side.

    Attributes:
        start: First token, counted from the start of the chunk.
        first: First sentence, counted from the start of the chunk.
        count: Sentences.
        length: Tokens of each.
    """

    start: int
    first: int
    count: int
    length: int

    @property
    def tokens(self) -> slice:
        """The tokens of the run inside its chunk."""
        return slice(self.start, self.start + self.count * self.length)

    @property
    def sentences(self) -> slice:
        """Its sentences inside the chunk."""
        return slice(self.first, self.first + self.count)


@dataclass(frozen=True)
class Group:
    """Sentences of a chunk whose lengths are near enough to pad them to the longest.

    Attributes:
        runs: The sentences by length, shortest first.
        places: The sentences of each run, counted from the start of the group.
    """

    runs: tuple[Run, ...]
    places: tuple[slice, ...]

    @property
    def sentences(self) -> slice:
        """Its sentences inside the chunk."""
        return slice(self.runs[0].first, self.runs[-1].first + self.runs[-1].count)

    @property
    def count(self) -> int:
        """Its number of sentences."""
        return self.runs[-1].first + self.runs[-1].count - self.runs[0].first

    @property
    def longest(self) -> int:
        """Tokens of its longest sentence."""
        return self.runs[-1].length


@dataclass(frozen=True)
class Chunk:
    """Whole sentences that are worked on together, so that they stay in the processor's cache.

    Attributes:
        tokens: Their rows in the packed matrix, those left over at the end included.
        filled: How many of the rows are tokens.
        sentences: Their places in packed order.
        groups: The sentences by about their length, shortest first.
        first: int64, the first token of each sentence, counted from the start of the chunk.
    """

    tokens: slice
    filled: int
    sentences: slice
    groups: tuple[Group, ...]
    first: torch.Tensor


@dataclass(frozen=True)
class PackingPlan:
    """Where each sentence lies in a packed matrix (rows, features).

    Attributes:
        order: int64 (S,), the row of the data that lies at each place; shortest first.
        lengths: int64 (S,), tokens of each sentence in packed order.
        chunks: The work, in packed order.
        chunk_rows: Rows of each chunk.
    """

    order: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    chunks: tuple[Chunk, ...]
    chunk_rows: int

    @property
    def rows(self) -> int:
        """Rows of the packed matrix."""
        return len(self.chunks) * self.chunk_rows


def plan_packing(
    lengths: npt.NDArray[np.int64],
    chunk_tokens: int,
    device: torch.device,
    row_unit: int = 1,
) -> PackingPlan:
    """Sort sentences by length and cut them into chunks of at most about `chunk_tokens` tokens.

    Args:
        lengths: Tokens (S,) of each sentence.
        chunk_tokens: Tokens that a chunk should not exceed by much.
        device: Where the indices are needed.
        row_unit: The number of rows is a multiple of it.
    """
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order]
    bounds = _bounds(ordered, -(-int(lengths.sum()) // chunk_tokens))
    longest = max(int(ordered[start:stop].sum()) for start, stop in pairwise(bounds))
    rows = -(-longest // row_unit) * row_unit
    chunks = []
    for number, (start, stop) in enumerate(pairwise(bounds)):
        own = ordered[start:stop]
        starts = np.cumsum(own) - own
        runs = tuple(
            Run(int(starts[index]), int(index), int(count), int(length))
            for length, index, count in zip(
                *np.unique(own, return_index=True, return_counts=True), strict=True
            )
        )
        chunks.append(
            Chunk(
                tokens=slice(number * rows, (number + 1) * rows),
                filled=int(own.sum()),
                sentences=slice(start, stop),
                groups=_groups(runs),
                first=torch.from_numpy(starts).to(device),
            )
        )
    return PackingPlan(order, ordered, tuple(chunks), rows)


def _bounds(lengths: npt.NDArray[np.int64], count: int) -> list[int]:
    """Return where `count` chunks begin and end, so that they hold about equally many tokens."""
    ends = np.cumsum(lengths)
    targets = np.arange(1, count) * (ends[-1] / count)
    inner = np.searchsorted(ends, targets, side="right")
    return sorted({0, *map(int, inner), len(lengths)})


def _groups(runs: tuple[Run, ...]) -> tuple[Group, ...]:
    """Join runs of similar lengths."""
    groups: list[list[Run]] = []
    for run in runs:
        if not groups or run.length > _WIDEST_GROUP * groups[-1][0].length:
            groups.append([])
        groups[-1].append(run)
    joined = []
    for group in groups:
        starts = [run.first - group[0].first for run in group]
        places = [slice(at, at + run.count) for at, run in zip(starts, group, strict=True)]
        joined.append(Group(tuple(group), tuple(places)))
    return tuple(joined)
