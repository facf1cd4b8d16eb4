"""A post-norm encoder cut into parts that can be run on packed tokens, one by one."""

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
from prune_env.utils.memory import remembering

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

    Attributes:
        block: From a layer and the bytes of its units beside the heads (`others`) to the block
            that they make of it.
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
        self._attention_maps = _attention_maps(model, heads, unit_map) if unit_map else []
        self.block = remembering(self._block, _BLOCKS * len(layers))

    @property
    def layers(self) -> int:
        """L."""
        return len(self._layers)

    def head_part(self, row: Mask) -> Mask:
        """Return the heads (H,) of a row (W,)."""
        return row[: self._heads]

    def others(self, row: Mask) -> bytes:
        """Return the units beside the heads of a row (W,)."""
        return row[self._heads :].tobytes()

    def readings(self, masks: Mask) -> list[list[bytes]]:
        """Return, by mask (N, L, W) and layer, all in the layer that decides its heads' contexts.

        These are the strengths of the maps to queries, keys and values.
        """
        if self._unit_map is None:
            return [[b""] * self.layers for _ in masks]
        strengths = self._unit_map.units.strengths(masks)
        return [
            [own[layer, maps].tobytes() for layer, maps in enumerate(self._attention_maps)]
            for own in strengths
        ]

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

    def _block(self, layer: int, others: bytes) -> PackedBlock:
        refitted, is_open = {}, None
        if self._unit_map is not None:
            row = np.concatenate([self.heads.available[layer], np.frombuffer(others, np.bool_)])
            is_open = self._unit_map.open_neurons(layer, row)
            strengths = self._unit_map.units.strengths(row).tolist()
            refitted = {
                self.model.get_submodule(name): weights
                for name, weights in self._unit_map.refitted(layer, strengths)
            }
        return PackedBlock(
            self.heads.layers[layer],
            self._parts[layer],
            self.dtype,
            scratch=self._scratch,
            first_only=layer == len(self._layers) - 1,
            refitted=refitted,
            neurons=None if is_open is None else torch.from_numpy(np.flatnonzero(is_open)),
        )


def _attention_maps(model: PreTrainedModel, heads: HeadMap, unit_map: UnitMap) -> list[list[int]]:
    """Return, by layer, which of its maps hold those to queries, keys and values."""
    names = {module: name for name, module in model.named_modules()}
    found = []
    for index, layer in enumerate(heads.layers):
        reading = {names[part.module] for part in (layer.query, layer.key, layer.value)}
        maps = enumerate(unit_map.maps(index))
        found.append([place for place, held in maps if any(name in reading for name, _ in held)])
    return found
