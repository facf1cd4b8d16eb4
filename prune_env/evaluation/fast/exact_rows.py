"""A few rows in float32, each entered where the mask differs from the last it was asked under."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from prune_env.evaluation.fast.cache import ByteCache
from prune_env.evaluation.fast.packed_model import PackedModel
from prune_env.evaluation.fast.plan import PackingPlan, plan_packing
from prune_env.models.forward import class_count, inference
from prune_env.models.inputs import TokenRows
from prune_env.models.masks import Mask

# Products have a multiple of so many rows: a kernel for each new number would take longer.
_TOKENS, _SENTENCES = 128, 32


@dataclass(eq=False)
class Trace:
    """What one row made of the last mask that it was asked under.

    Attributes:
        mask: Bool (L, W).
        readings: By layer all of the mask that decides the contexts of its heads.
        states: By layer what enters it (T, D), and the contexts of all its heads (T, H * d); of
            the last layer only the first token's.
    """

    mask: Mask
    readings: Sequence[bytes]
    states: list[tuple[torch.Tensor, torch.Tensor]]

    @cached_property
    def nbytes(self) -> int:
        """Bytes of all states."""
        return sum(matrix.nbytes for state in self.states for matrix in state)


class ExactRows:
    """Runs a `PackedModel` on any few rows.

    The rows nearest to a decision are much the same from one mask to the next, so what is known of
    a row is kept by row, while the set of rows may change.

    Args:
        packed: The model.
        tokens: The tokens of all data.
        max_cache_bytes: Memory for traces.
    """

    def __init__(self, packed: PackedModel, tokens: TokenRows, max_cache_bytes: int) -> None:
        self._packed = packed
        self._tokens = tokens
        self._cache: ByteCache[Trace] = ByteCache(max_cache_bytes)
        self._last = packed.layers - 1

    def run(self, mask: Mask, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the logits (R, C) of rows (R,) under a mask (L, H)."""
        order = np.argsort(self._tokens.lengths[rows], kind="stable")
        ordered = rows[order]
        (readings,) = self._packed.readings(mask[None])
        traces = [self._trace(row, mask, readings) for row in ordered.tolist()]
        logits = np.empty((len(rows), class_count(self._packed.model)), np.float32)
        with inference(self._packed.model):
            for layer in range(self._last + 1):
                pending = [index for index, each in enumerate(traces) if len(each.states) == layer]
                if not pending:
                    continue
                chosen = ordered[pending]
                lengths = self._tokens.lengths[chosen]
                device = self._packed.model.device
                plan = plan_packing(lengths, int(lengths.sum()), device, row_unit=_TOKENS)
                own = [traces[index] for index in pending]
                if layer == 0:
                    hidden = self._packed.embed(self._tokens, chosen, plan)
                else:
                    before = [trace.states[-1] for trace in own]
                    hidden = self._after(layer - 1, mask, before, plan.rows)
                self._append(layer, mask, hidden, plan, own)
            count = -(-len(rows) // _SENTENCES) * _SENTENCES
            left = self._after(self._last, mask, [trace.states[-1] for trace in traces], count)
            logits[order] = self._packed.classify(self._tokens, left[: len(rows)]).cpu().numpy()
        for row, trace in zip(ordered.tolist(), traces, strict=True):
            self._cache.put(row, trace)
        return logits

    def _trace(self, row: int, mask: Mask, readings: Sequence[bytes]) -> Trace:
        """Return a trace with the states of a row that hold for a mask."""
        known = self._cache.get(row)
        if known is None:
            return Trace(mask.copy(), readings, [])
        equal = int((known.mask == mask).all(axis=1).cumprod().sum())
        if equal <= self._last:
            # What enters the first layer that differs is the same; its contexts may not be.
            equal += known.readings[equal] == readings[equal]
        return Trace(mask.copy(), readings, known.states[:equal])

    def _append(
        self,
        layer: int,
        mask: Mask,
        hidden: torch.Tensor,
        plan: PackingPlan,
        traces: Sequence[Trace],
    ) -> None:
        """Append to traces what enters a layer (T, D), one sentence after the other."""
        (chunk,) = plan.chunks
        heads = self._packed.heads.layers[layer]
        last = layer == self._last
        contexts = hidden.new_empty(
            len(traces) if last else plan.rows, heads.num_heads * heads.head_dim
        )
        available = self._packed.heads.available[layer]
        block = self._packed.block(layer, self._packed.others(mask[layer]))
        attend = block.attend(available.tobytes())
        attend(hidden, chunk, contexts)
        sizes = [1] * len(traces) if last else plan.lengths.tolist()
        entering = hidden[chunk.first] if last else hidden
        split = (matrix[: sum(sizes)].split(sizes) for matrix in (entering, contexts))
        for trace, *state in zip(traces, *split, strict=True):
            trace.states.append((state[0].clone(), state[1].clone()))

    def _after(
        self,
        layer: int,
        mask: Mask,
        states: Sequence[tuple[torch.Tensor, torch.Tensor]],
        count: int,
    ) -> torch.Tensor:
        """Return what leaves a layer (count, D), given the states of rows that enter it."""
        block = self._packed.block(layer, self._packed.others(mask[layer]))
        rows = sum(hidden.shape[0] for hidden, _ in states)
        hidden, contexts = (
            torch.cat([*parts, parts[0].new_zeros(count - rows, parts[0].shape[1])])
            for parts in zip(*states, strict=True)
        )
        available = self._packed.heads.available[layer]
        kept = self._packed.head_part(mask[layer])
        output = block.output(available.tobytes(), kept.tobytes())
        return block.after_attention(output, contexts, hidden)
