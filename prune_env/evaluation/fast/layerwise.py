"""The engine for every other architecture: the model's own layers, entered where masks differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from prune_env.evaluation.fast.cache import ByteCache
from prune_env.evaluation.fast.engine import walking_order
from prune_env.evaluation.fast.stack import replaced
from prune_env.models.forward import class_count, inference
from prune_env.models.heads import HeadMap
from prune_env.models.inputs import Rows
from prune_env.models.masks import Mask
from prune_env.models.unit_gates import gates_on
from prune_env.models.unit_map import UnitMap

_BATCH_TOKENS = 2048


@dataclass(eq=False)
class Outputs:
    """What one layer returned, for every batch of rows."""

    by_batch: list[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(_nbytes(output) for output in self.by_batch)


class LayerwiseEngine:
    """Runs the model itself under gates, in batches of similar length.

    What a layer returns depends on the rows of the mask up to it only. With `layers` it is kept,
    and the layers before the first difference to a kept mask are not run again: their place is
    taken by a function that returns what they returned.

    Args:
        model: The classifier, in the precision to run.
        heads: Its heads.
        layers: Its layers, one per row of a mask, or None to run the whole model every time.
        tokens: The tokens of all data.
        rows: The rows (R,) to answer for.
        max_cache_bytes: Memory for kept outputs.
        unit_map: The units that masks choose from; None for heads alone.

    Attributes:
        rows: The rows (R,).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        heads: HeadMap,
        layers: Sequence[nn.Module] | None,
        *,
        tokens: Rows,
        rows: npt.NDArray[np.int64],
        max_cache_bytes: int,
        unit_map: UnitMap | None = None,
    ) -> None:
        self.rows = rows
        self._model = model
        self._heads = heads
        self._unit_map = unit_map
        self._layers = () if layers is None else tuple(layers)
        self._tokens = tokens
        self._batches = _batches(tokens.lengths[rows])
        self._cache: ByteCache[Outputs] = ByteCache(max_cache_bytes)

    def run(self, masks: Mask) -> npt.NDArray[np.float32]:
        """Return the logits (N, R, C) under masks (N, L, H)."""
        logits = np.empty((len(masks), len(self.rows), class_count(self._model)), np.float32)
        gated = gates_on(self._model, self._heads, self._unit_map)
        with inference(self._model), gated as gates:
            for index in walking_order(masks):
                gates.set(masks[index])
                logits[index] = self._forward(masks[index])
        return logits

    def clear(self) -> None:
        """Release every kept output."""
        self._cache.clear()

    def _forward(self, mask: Mask) -> npt.NDArray[np.float32]:
        """Run what is not known yet, and keep what the layers but the last returned."""
        known, entry = 0, None
        for layer in range(1, len(self._layers)):
            outputs = self._cache.get(mask[:layer].tobytes())
            if outputs is not None:
                known, entry = layer, outputs
        recorder = _Recorder(self._layers[known:-1])
        logits = np.empty((len(self.rows), class_count(self._model)), np.float32)
        with recorder:
            for number, places in enumerate(self._batches):
                batch = self._tokens.batch(self.rows[places], self._model.device)
                output = None if entry is None else entry.by_batch[number]
                skipped = self._layers[:known]
                with replaced(skipped, [lambda *args, _o=output, **kwargs: _o] * known):
                    logits[places] = self._model(**batch).logits.float().cpu().numpy()
                # All batches cost about the same, so the first one tells whether they will fit.
                if recorder.nbytes * len(self._batches) > self._cache.max_bytes * (number + 1):
                    recorder.stop()
        for layer, outputs in enumerate(recorder.outputs, start=known + 1):
            self._cache.put(mask[:layer].tobytes(), outputs)
        return logits


class _Recorder:
    """Collects what layers return while it is entered, or until it is stopped."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self._layers = layers
        self._hooks: list[RemovableHandle] = []
        self.outputs = [Outputs([]) for _ in layers]

    @property
    def nbytes(self) -> int:
        """Bytes collected so far."""
        return sum(outputs.nbytes for outputs in self.outputs)

    def stop(self) -> None:
        """Forget what was collected, and collect no more."""
        self.outputs = []
        self.__exit__()

    def __enter__(self) -> Self:
        for layer, outputs in zip(self._layers, self.outputs, strict=True):
            collect = outputs.by_batch.append
            self._hooks.append(
                layer.register_forward_hook(lambda _m, _args, output, to=collect: to(output))
            )
        return self

    def __exit__(self, *exception: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []


def _batches(lengths: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Return places (R,) in batches of similar length, about `_BATCH_TOKENS` tokens each."""
    order = np.argsort(lengths, kind="stable")
    batches: list[list[int]] = []
    for place in order.tolist():
        if not batches or (len(batches[-1]) + 1) * lengths[place] > _BATCH_TOKENS:
            batches.append([])
        batches[-1].append(place)
    return [np.array(batch, np.int64) for batch in batches]


def _nbytes(output: Any) -> int:
    if isinstance(output, torch.Tensor):
        return output.nbytes
    return sum(map(_nbytes, output)) if isinstance(output, tuple | list) else 0
