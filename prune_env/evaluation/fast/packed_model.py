"""A post-norm encoder cut into parts that can be run on packed tokens, one by one."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from prune_env.evaluation.fast.blocks import PackedBlock, find_parts, is_plain_attention
from prune_env.evaluation.fast.plan import PackingPlan
from prune_env.evaluation.fast.stack import entering, find_layers, leaving
from prune_env.evaluation.fast.workspace import Scratch
from prune_env.models.heads import HeadMap
from prune_env.models.inputs import TokenRows
from prune_env.models.masks import Mask
from prune_env.models.unit_map import UnitMap

_EMBEDDED_ROWS = 256
_BLOCKS = 16  # of a layer, under as many choices of its units beside heads, are kept


class PackedModel:
    """The blocks of a post-norm encoder in one precision, with its embeddings and classifier.

    The classifier must read the first token alone. Embeddings and classifier are the model's own
    modules, in float32.

    Args:
        model: The classifier.
        heads: Its heads.
        dtype: Precision of the blocks.
        unit_map: The units that masks choose from; None for heads alone.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        heads: HeadMap,
        dtype: torch.dtype,
        unit_map: UnitMap | None = None,
    ) -> None:
        layers = find_layers(model, heads)
        parts = find_parts(layers) if layers else None
        if layers is None or parts is None:
            raise ValueError("the structure of the model is not known")
        self.model = model
        self.heads = heads
        self.dtype = dtype
        self._layers = layers
        self._parts = parts
        self._unit_map = unit_map
        self._scratch = Scratch()
        self._heads = heads.shape[1]
        self._width = heads.layers[0].output_weight().shape[0]
        last = heads.layers[-1]
        if unit_map is None:  # masks choose heads alone: a layer has one block
            self._blocks = [
                PackedBlock(*each, dtype, scratch=self._scratch, first_only=each[0] is last)
                for each in zip(heads.layers, parts, strict=True)
            ]
        else:
            self._block = lru_cache(maxsize=_BLOCKS * len(layers))(self._make_block)
            names = {module: name for name, module in model.named_modules()}
            self._reading = [
                {names[getattr(layer, part).module] for part in ("query", "key", "value")}
                for layer in heads.layers
            ]

    @property
    def layers(self) -> int:
        """L."""
        return len(self._layers)

    def block(self, layer: int, row: Mask) -> PackedBlock:
        """Return the block of a layer under the units beside the heads of a row (W,)."""
        if self._unit_map is None:
            return self._blocks[layer]
        return self._block(layer, row[self._heads :].tobytes())

    def head_part(self, row: Mask) -> Mask:
        """Return the heads (H,) of a row (W,)."""
        return row[: self._heads]

    def beginning(self, mask: Mask, layer: int) -> bytes:
        """Return all of a mask (L, W) that decides what enters a layer, and its heads' contexts."""
        key = mask[:layer].tobytes()
        return key if self._unit_map is None else key + self.reading(mask, layer)

    def reading(self, mask: Mask, layer: int) -> bytes:
        """Return all of a mask (L, W) in a layer that decides the contexts of its heads."""
        if self._unit_map is None:
            return b""
        return self._unit_map.strengths_of(layer, mask[layer], self._reading[layer])

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
        # The layers are skipped, so nothing of the inputs is read: those of one sentence will do.
        batch = tokens.first_tokens(1, self.model.device)
        return leaving(self.model, self._layers, batch, first.float().unsqueeze(1))

    def flops_of_attention(self, layer: int, wanted: Mask) -> int:
        """Return the operations of the maps to queries, keys and values for one token."""
        last = layer == len(self._layers) - 1
        return (
            0 if last else 6 * int(wanted.sum()) * self.heads.layers[layer].head_dim * self._width
        )

    def _make_block(self, layer: int, others: bytes) -> PackedBlock:
        """Return the block of a layer under its units beside the heads, as bytes of a row."""
        assert self._unit_map is not None
        row = np.concatenate([self.heads.available[layer], np.frombuffer(others, np.bool_)])
        is_open = self._unit_map.open_neurons(layer, row)
        return PackedBlock(
            self.heads.layers[layer],
            self._parts[layer],
            self.dtype,
            scratch=self._scratch,
            first_only=layer == self.layers - 1,
            refitted={
                self.model.get_submodule(name): weights
                for name, weights in self._unit_map.refitted(layer, row)
            },
            neurons=None if is_open is None else torch.from_numpy(np.flatnonzero(is_open)),
        )
