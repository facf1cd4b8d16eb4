"""The fast engine: a post-norm encoder on packed tokens, entered where a mask first differs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from prune_env.evaluation.fast.blocks import PackedBlock
from prune_env.evaluation.fast.cache import ByteCache
from prune_env.evaluation.fast.engine import beginnings, heads_ahead, walking_order
from prune_env.evaluation.fast.packed_model import PackedModel
from prune_env.evaluation.fast.plan import plan_packing
from prune_env.evaluation.fast.workspace import Lease, Workspace
from prune_env.models.forward import class_count, inference
from prune_env.models.inputs import TokenRows
from prune_env.models.masks import Mask

_CPU_CHUNK = 2048  # tokens; more of them would not fit the cache of a CPU, fewer mean more calls
_GPU_CHUNK = 1 << 15
_ROWS = 32  # a chunk has a multiple of so many


@dataclass(eq=False)
class LayerState:
    """What enters a layer, and what its heads make of it.

    Attributes:
        entering: Lease of (T, D), what enters; before the last layer only the first token of each
            sentence, (S, D).
        attended: Lease of (T, h * d) or (S, h * d), contexts of the heads `held`, side by side.
        held: Bool (H,).
    """

    entering: Lease
    attended: Lease
    held: Mask

    @property
    def hidden(self) -> torch.Tensor:
        """What enters the layer."""
        return self.entering.matrix

    @property
    def contexts(self) -> torch.Tensor:
        """Outputs of the heads."""
        return self.attended.matrix

    @property
    def nbytes(self) -> int:
        """Bytes that the two matrices hold."""
        return self.entering.nbytes + self.attended.nbytes


class PackedEngine:
    """Runs a `PackedModel` on fixed rows, and keeps what enters each layer for the next masks.

    What enters layer l depends on the rows of the mask before l only; and in layer l itself the
    contexts of the heads do not depend on the mask at all, but for the strengths with which the
    maps to queries, keys and values are refitted. So a mask costs the output projection
    and feed-forward of the first layer where it differs from a mask that is still known, and the
    layers after it; pruned heads cost nothing, and the last layer only the first tokens.

    Args:
        packed: The model.
        tokens: The tokens of all data.
        rows: The rows (R,) to answer for.
        max_cache_bytes: Memory for kept states.

    Attributes:
        rows: The rows (R,).
        flops: Floating-point operations of the linear maps so far (the last layer's attention,
            which maps no token, left out).
    """

    def __init__(
        self,
        packed: PackedModel,
        tokens: TokenRows,
        rows: npt.NDArray[np.int64],
        max_cache_bytes: int,
    ) -> None:
        device = packed.model.device
        chunk = _CPU_CHUNK if device.type == "cpu" else _GPU_CHUNK
        self.rows = rows
        self.flops = 0
        self._packed = packed
        self._tokens = tokens
        self._plan = plan_packing(tokens.lengths[rows], chunk, device, row_unit=_ROWS)
        self._cache: ByteCache[LayerState] = ByteCache(max_cache_bytes)
        self._last = packed.layers - 1
        self._workspace = Workspace(packed.dtype, device)
        self._tokens_total = int(self._plan.lengths.sum())

    def run(self, masks: Mask) -> npt.NDArray[np.float32]:
        """Return the logits (N, R, C) under masks (N, L, H)."""
        packed = self._packed
        logits = np.empty((len(masks), len(self.rows), class_count(packed.model)), np.float32)
        known = beginnings(masks, packed.readings(masks))
        ahead = heads_ahead(masks, known, packed.heads.shape[1])
        with inference(packed.model):
            for index in walking_order(masks):
                mask, keys = masks[index], known[index]
                layer, state = self._nearest(keys)
                blocks = {
                    each: packed.block(each, packed.others(mask[each]))
                    for each in range(layer, self._last + 1)
                }
                if state is None:
                    embedded = packed.embed(self._tokens, self.rows, self._plan)
                    state = self._entered(0, blocks, mask, self._exists(0), embedded)
                    self._cache.put(keys[0], state)
                elif (missing := ahead[keys[layer]] & ~state.held).any():
                    state = self._extended(state, layer, blocks[layer], missing)
                    self._cache.put(keys[layer], state)
                for after in range(layer + 1, self._last + 1):
                    wanted = ahead[keys[after]] if after < self._last else self._exists(after)
                    state = self._entered(after, blocks, mask, wanted, state)
                    self._cache.put(keys[after], state)
                block, kept = blocks[self._last], packed.head_part(mask[-1])
                output = block.output(state.held.tobytes(), kept.tobytes())
                left = block.after_attention(output, state.contexts, state.hidden)
                self.flops += len(self.rows) * block.flops_after(kept)
                answer = packed.classify(self._tokens, left).cpu().numpy()
                logits[index, self._plan.order] = answer
        return logits

    def clear(self) -> None:
        """Release every kept state."""
        self._cache.clear()
        self._workspace.clear()

    def _nearest(self, keys: Sequence[bytes]) -> tuple[int, LayerState | None]:
        """Return the last layer whose state is kept, by the beginnings of a mask, and the state.

        Without any it is the first layer, and None.
        """
        for key in keys[:-1]:  # the whole way of the newest mask is worth most
            self._cache.get(key)
        for layer in reversed(range(len(keys))):
            state = self._cache.get(keys[layer])
            if state is not None:
                return layer, state
        return 0, None

    def _entered(
        self,
        layer: int,
        blocks: Mapping[int, PackedBlock],
        mask: Mask,
        wanted: Mask,
        before: LayerState | torch.Tensor,
    ) -> LayerState:
        """Return what enters a layer, with the contexts of some heads, chunk by chunk.

        Args:
            layer: Which.
            blocks: By layer, of this one and of the one before it.
            mask: Bool (L, W).
            wanted: Bool (H,), the heads.
            before: What enters the layer before it; of the first layer the embeddings (T, D).
        """
        last = layer == self._last
        packed = self._packed
        attend = blocks[layer].attend(wanted.tobytes())
        hidden = before if isinstance(before, torch.Tensor) else before.hidden
        rows, width = len(self.rows) if last else self._plan.rows, hidden.shape[1]
        entered = self._workspace.lend(rows, width, width)
        state = LayerState(entered, self._workspace.lend(*self._room(layer, wanted)), wanted)
        if isinstance(before, LayerState):
            block = blocks[layer - 1]
            kept = packed.head_part(mask[layer - 1])
            output = block.output(before.held.tobytes(), kept.tobytes())
            self.flops += self._tokens_total * block.flops_after(kept)
        for chunk in self._plan.chunks:
            entering = hidden[chunk.tokens]
            if isinstance(before, LayerState):
                contexts = before.contexts[chunk.tokens]
                entering = block.after_attention(output, contexts, entering)
            if last:
                state.hidden[chunk.sentences] = entering[chunk.first]
            else:
                state.hidden[chunk.tokens] = entering
            attend(entering, chunk, state.contexts)
        self.flops += self._tokens_total * packed.flops_of_attention(layer, wanted)
        return state

    def _room(self, layer: int, wanted: Mask) -> tuple[int, int, int]:
        """Return rows and columns of the contexts of some heads, and the columns of all."""
        heads = self._packed.heads.layers[layer]
        rows = len(self.rows) if layer == self._last else self._plan.rows
        return rows, int(wanted.sum()) * heads.head_dim, heads.num_heads * heads.head_dim

    def _extended(
        self, state: LayerState, layer: int, block: PackedBlock, missing: Mask
    ) -> LayerState:
        """Return a state with the contexts of more heads, computed from the same hidden state."""
        dim = self._packed.heads.layers[layer].head_dim
        more = self._workspace.lend(*self._room(layer, missing))
        attend = block.attend(missing.tobytes())
        for chunk in self._plan.chunks:
            attend(state.hidden[chunk.tokens], chunk, more.matrix)
        self.flops += self._tokens_total * self._packed.flops_of_attention(layer, missing)
        both = state.held | missing
        joined = self._workspace.lend(*self._room(layer, both))
        split = joined.matrix.unflatten(1, (-1, dim))
        for held, contexts in ((state.held, state.contexts), (missing, more.matrix)):
            places = torch.from_numpy(np.flatnonzero(held[both])).to(split.device)
            split[:, places] = contexts.unflatten(1, (-1, dim))
        return LayerState(state.entering, joined, both)

    def _exists(self, layer: int) -> Mask:
        """Return every head of a layer (H,): at both ends of the model all contexts are kept."""
        exists: Mask = self._packed.heads.available[layer]
        return exists
