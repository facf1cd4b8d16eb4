"""The fast engine: a post-norm encoder on packed tokens, entered where a mask first differs."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from prune_env.evaluation.attention import first_token_attention, packed_attention
from prune_env.evaluation.base import Masks
from prune_env.evaluation.blocks import HeadSet, PackedBlock, find_parts, is_plain_attention
from prune_env.evaluation.cache import ByteCache
from prune_env.evaluation.engine import heads_ahead, walking_order
from prune_env.evaluation.model_evaluator import class_count, inference
from prune_env.evaluation.plan import Chunk, PackingPlan, plan_packing
from prune_env.evaluation.stack import entering, find_layers, leaving
from prune_env.evaluation.tokens import TokenRows
from prune_env.models.heads import HeadMap

_CPU_CHUNK = 1024  # tokens; on a CPU the activations of a chunk should stay near the core
_GPU_CHUNK = 1 << 15
_EMBEDDED_ROWS = 256


@dataclass(eq=False)
class State:
    """What enters a layer, and what its heads make of it.

    Attributes:
        hidden: (T, D); before the last layer only the first token of each sentence, (S, D).
        contexts: (T, h * d) or (S, h * d), outputs of the heads `held`, side by side.
        held: Bool (H,).
    """

    hidden: torch.Tensor
    contexts: torch.Tensor
    held: HeadSet

    @property
    def nbytes(self) -> int:
        """Bytes of the two matrices."""
        return self.hidden.nbytes + self.contexts.nbytes


class PackedModel:
    """The blocks of a post-norm encoder in one precision, with its embeddings and classifier.

    The classifier must read the first token alone. Embeddings and classifier are the model's own
    modules, in float32.

    Args:
        model: The classifier.
        heads: Its heads.
        dtype: Precision of the blocks.
    """

    def __init__(self, model: PreTrainedModel, heads: HeadMap, dtype: torch.dtype) -> None:
        layers = find_layers(model, heads)
        parts = find_parts(layers) if layers else None
        if layers is None or parts is None:
            raise ValueError("the structure of the model is not known")
        self.model = model
        self.heads = heads
        self.dtype = dtype
        self.blocks = [
            PackedBlock(layer, part, dtype) for layer, part in zip(heads.layers, parts, strict=True)
        ]
        self._layers = layers
        query, key, value = (
            (weight.to(dtype), bias.to(dtype))
            for weight, bias in map(self.blocks[-1].per_head, ("query", "key", "value"))
        )
        self._last = query, key[0], value

    @staticmethod
    def fits(model: PreTrainedModel, heads: HeadMap) -> bool:
        """Whether the modules look right; only a comparison with the model can prove it."""
        layers = find_layers(model, heads)
        return layers is not None and find_parts(layers) is not None and is_plain_attention(heads)

    def embed(
        self, tokens: TokenRows, rows: npt.NDArray[np.int64], plan: PackingPlan
    ) -> torch.Tensor:
        """Return the packed embeddings (T, D) of some rows, T being the rows of the plan."""
        pieces = []
        for start in range(0, len(rows), _EMBEDDED_ROWS):
            picked = rows[plan.order[start : start + _EMBEDDED_ROWS]]
            batch = tokens.batch(picked, self.model.device)
            hidden = entering(self.model, self._layers, batch)
            pieces.append(hidden[batch["attention_mask"].bool()].to(self.dtype))
        tokens_only = torch.cat(pieces)
        packed = tokens_only.new_zeros(plan.rows, tokens_only.shape[1])
        done = 0
        for chunk in plan.chunks:
            packed[chunk.tokens][: chunk.filled] = tokens_only[done : done + chunk.filled]
            done += chunk.filled
        return packed

    def classify(self, tokens: TokenRows, first: torch.Tensor) -> torch.Tensor:
        """Return the logits (S, C) of what left the last layer at the first tokens (S, D)."""
        batch = tokens.first_tokens(len(first), self.model.device)
        return leaving(self.model, self._layers, batch, first.float().unsqueeze(1))

    def attend(
        self, layer: int, hidden: torch.Tensor, chunk: Chunk, wanted: HeadSet, out: torch.Tensor
    ) -> None:
        """Write the contexts of the wanted heads of a layer, for one chunk, into `out`.

        In the last layer it is every head, of the first tokens.
        """
        if layer == len(self.blocks) - 1:
            out[chunk.sentences] = first_token_attention(hidden, chunk, *self._last)
        elif wanted.any():
            qkv = self.blocks[layer].qkv(hidden, wanted)
            packed_attention(qkv, chunk, self.heads.layers[layer].head_dim, out[chunk.tokens])


class PackedEngine:
    """Runs a `PackedModel` on fixed rows, and keeps what enters each layer for the next masks.

    What enters layer l depends on the rows of the mask before l only; and in layer l itself the
    contexts of the heads do not depend on the mask at all. So a mask costs the output projection
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
        self._plan = plan_packing(tokens.lengths[rows], chunk, device)
        self._cache: ByteCache[State] = ByteCache(max_cache_bytes)
        self._last = len(packed.blocks) - 1

    def run(self, masks: Masks) -> npt.NDArray[np.float32]:
        """Return the logits (N, R, C) under masks (N, L, H)."""
        classes = class_count(self._packed.model)
        logits = np.empty((len(masks), len(self.rows), classes), np.float32)
        ahead = heads_ahead(masks)
        with inference(self._packed.model):
            for index in walking_order(masks):
                mask = masks[index]
                for layer in range(self._last):  # the whole way of the newest mask is worth most
                    self._cache.get(mask[:layer].tobytes())
                state = self._state(mask, self._last, ahead)
                left = self._packed.blocks[-1].after_attention(
                    state.contexts, state.held, mask[-1], state.hidden
                )
                self.flops += len(self.rows) * self._packed.blocks[-1].flops_after(state.held)
                answer = self._packed.classify(self._tokens, left).cpu().numpy()
                logits[index, self._plan.order] = answer
        return logits

    def clear(self) -> None:
        """Release every kept state."""
        self._cache.clear()

    def _state(self, mask: Masks, layer: int, ahead: dict[bytes, HeadSet]) -> State:
        """Return what enters a layer, from the nearest kept state on."""
        key = mask[:layer].tobytes()
        state = self._cache.get(key)
        if state is None:
            wanted = ahead[key] if 0 < layer < self._last else self._exists(layer)
            if layer == 0:
                state = self._embedded(wanted)
            else:
                before = self._state(mask, layer - 1, ahead)
                state = self._advance(before, layer, mask[layer - 1], wanted)
            self._cache.put(key, state)
        elif (missing := ahead[key] & ~state.held).any():
            state = self._extended(state, layer, missing)
            self._cache.put(key, state)
        return state

    def _embedded(self, wanted: HeadSet) -> State:
        hidden = self._packed.embed(self._tokens, self.rows, self._plan)
        state = self._empty(0, hidden.shape[1], wanted)
        for chunk in self._plan.chunks:
            self._fill(state, 0, chunk, hidden[chunk.tokens])
        return state

    def _advance(self, before: State, layer: int, kept: HeadSet, wanted: HeadSet) -> State:
        """Return what enters `layer`, given what enters the one before and its kept heads."""
        block = self._packed.blocks[layer - 1]
        state = self._empty(layer, before.hidden.shape[1], wanted)
        for chunk in self._plan.chunks:
            here = chunk.tokens
            hidden = block.after_attention(
                before.contexts[here], before.held, kept, before.hidden[here]
            )
            self._fill(state, layer, chunk, hidden)
        self.flops += int(self._plan.lengths.sum()) * block.flops_after(before.held)
        return state

    def _empty(self, layer: int, features: int, wanted: HeadSet) -> State:
        heads = self._packed.heads.layers[layer]
        count = len(self.rows) if layer == self._last else self._plan.rows
        width = int(wanted.sum()) * heads.head_dim
        hidden, contexts = (
            torch.empty(count, size, dtype=self._packed.dtype, device=self._packed.model.device)
            for size in (features, width)
        )
        return State(hidden, contexts, wanted)

    def _fill(self, state: State, layer: int, chunk: Chunk, hidden: torch.Tensor) -> None:
        """Store one chunk of what enters a layer, and its contexts."""
        if layer == self._last:
            state.hidden[chunk.sentences] = hidden[chunk.first]
        else:
            state.hidden[chunk.tokens] = hidden
        self._attend(state, layer, chunk, hidden)

    def _attend(self, state: State, layer: int, chunk: Chunk, hidden: torch.Tensor) -> None:
        self._packed.attend(layer, hidden, chunk, state.held, state.contexts)
        if layer < self._last:
            self.flops += chunk.filled * self._packed.blocks[layer].flops_before(state.held)

    def _extended(self, state: State, layer: int, missing: HeadSet) -> State:
        """Return a state with the contexts of more heads, computed from the same hidden state."""
        dim = self._packed.heads.layers[layer].head_dim
        more = self._empty(layer, 0, missing)
        for chunk in self._plan.chunks:
            self._attend(more, layer, chunk, state.hidden[chunk.tokens])
        both = state.held | missing
        joined = self._empty(layer, 0, both).contexts
        split = joined.view(len(joined), -1, dim)
        for part in (state, more):
            places = torch.from_numpy(np.flatnonzero(part.held[both]))
            split[:, places.to(joined.device)] = part.contexts.view(len(joined), -1, dim)
        return State(state.hidden, joined, both)

    def _exists(self, layer: int) -> HeadSet:
        """Return every head of a layer (H,): at both ends of the model all contexts are kept."""
        exists: HeadSet = self._packed.heads.available[layer]
        return exists
