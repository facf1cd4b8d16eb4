"""Sentences of several lengths as one matrix of tokens, without padding."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch


@dataclass(frozen=True)
class Run:
    """Sentences of one length that lie side by side.

    Attributes:
        start: First token, counted from the start of the chunk.
        count: Sentences.
        length: Tokens of each.
    """

    start: int
    count: int
    length: int

    @property
    def tokens(self) -> slice:
        """The tokens of the run inside its chunk."""
        return slice(self.start, self.start + self.count * self.length)


@dataclass(frozen=True)
class Chunk:
    """Whole sentences that are worked on together, so that they stay in the processor's cache.

    Attributes:
        tokens: Their tokens in the packed matrix.
        sentences: Their places in packed order.
        runs: The sentences by length.
        first: int64, the first token of each sentence, counted from the start of the chunk.
    """

    tokens: slice
    sentences: slice
    runs: tuple[Run, ...]
    first: torch.Tensor


@dataclass(frozen=True)
class PackingPlan:
    """Where each sentence lies in a packed matrix (tokens, features).

    Attributes:
        order: int64 (S,), the row of the data that lies at each place; shortest first.
        lengths: int64 (S,), tokens of each sentence in packed order.
        chunks: The work, in packed order.
    """

    order: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    chunks: tuple[Chunk, ...]

    @property
    def total_tokens(self) -> int:
        """Tokens of all sentences."""
        return int(self.lengths.sum())


def plan_packing(
    lengths: npt.NDArray[np.int64], chunk_tokens: int, device: torch.device
) -> PackingPlan:
    """Sort sentences by length and cut them into chunks of about `chunk_tokens` tokens."""
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order]
    ends = np.cumsum(ordered)
    chunks = []
    start = 0
    while start < len(ordered):
        before = int(ends[start] - ordered[start])
        stop = max(start + 1, int(np.searchsorted(ends, before + chunk_tokens, side="right")))
        own = ordered[start:stop]
        starts = np.cumsum(own) - own
        runs = tuple(
            Run(int(starts[index]), int(count), int(length))
            for length, index, count in zip(
                *np.unique(own, return_index=True, return_counts=True), strict=True
            )
        )
        chunks.append(
            Chunk(
                tokens=slice(before, int(ends[stop - 1])),
                sentences=slice(start, stop),
                runs=runs,
                first=torch.from_numpy(starts).to(device),
            )
        )
        start = stop
    return PackingPlan(order, ordered, tuple(chunks))
