"""Choosing the fastest way to compute logits that proves right on the model at hand."""

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import PreTrainedModel

from prune_env.evaluation.base import top_two_gap
from prune_env.evaluation.fast.engine import Engine
from prune_env.evaluation.fast.exact_rows import ExactRows
from prune_env.evaluation.fast.layerwise import LayerwiseEngine
from prune_env.evaluation.fast.packed import PackedEngine
from prune_env.evaluation.fast.packed_model import PackedModel
from prune_env.evaluation.fast.stack import find_layers
from prune_env.evaluation.model_evaluator import ModelEvaluator
from prune_env.evaluation.screen import unsure
from prune_env.models import find_heads
from prune_env.models.forward import Floats
from prune_env.models.inputs import TokenRows
from prune_env.models.masks import Mask

logger = logging.getLogger(__name__)

EngineFactory = Callable[[npt.NDArray[np.int64], int], Engine]
"""Makes an engine for rows (R,) and bytes of cache."""

_KINDS = ("packed", "layerwise", "plain")  # fastest first

# What another structure, or a layer that takes one precision only, answers to a wrong call.
ENGINE_ERRORS = (RuntimeError, TypeError, ValueError, AttributeError, IndexError)
_PROOF_SEED = 0
_TOLERANCE = 5e-4  # of the largest logit: float32 in another order differs by far less
_TIE_FACTOR = 16.0  # leads below so many times the difference that was seen go to the reference
_TIE_FLOOR = 1e-5
_NEAR_SHARE = 16  # of the memory, one part in so many keeps what rows near a decision need again
_SHARD_TOKENS = 1 << 12  # fewer at a time would be slow, and save little memory
_ANSWER_BYTES = 1 << 26  # of logits that are worked on at once
_WORST_SCREEN = 0.25  # a screen whose median error is more of the median lead saves nothing


class Backend:
    """Computes logits whose classes are those of the reference, for every mask.

    At creation each candidate is compared with the reference on one batch of the data under
    masks that exercise everything it keeps; the first that agrees is used: a packed post-norm
    encoder, then the model's own layers with kept outputs, then the plain model. Where bfloat16 is
    asked for, it screens: samples whose lead is within the error measured for the mask are
    computed again in float32, and those nearly tied in float32 by the reference itself.

    Args:
        truth: Gives model, heads, tokens and reference logits.
        bf16: Whether to screen in bfloat16.
        max_cache_bytes: Memory for kept states.

    Attributes:
        engines: One for each part of the data that fits the memory.
        kind: "packed", "layerwise" or "plain".
        screens: Whether bfloat16 is used.
        computed: Sample answers computed so far.
        rechecked: How many of them were computed again in float32.
        referred: How many of them were left to the reference.
    """

    def __init__(self, truth: ModelEvaluator, *, bf16: bool, max_cache_bytes: int) -> None:
        self._truth = truth
        self._cache_bytes = max_cache_bytes
        self.computed = self.rechecked = self.referred = 0
        longest = [truth.tokens.lengths[rows].max() for rows in truth.batches]
        self._proof_rows = truth.batches[int(np.argmax(longest))]
        self._proof_masks = _proof_masks(truth.available)
        self._proof = np.array(
            [truth.reference_logits(mask, self._proof_rows)[1] for mask in self._proof_masks]
        )
        self.kind, self._exact, self._tie_bound = self._proven()
        screen = self._screen() if bf16 else None
        self.screens = screen is not None
        self._near: ExactRows | None = None
        if self.screens and isinstance(self._exact, _PackedFactory):
            near_bytes = max_cache_bytes // _NEAR_SHARE
            self._near = ExactRows(self._exact.packed, self._exact.tokens, near_bytes)
            max_cache_bytes -= near_bytes
        factory = self._exact if screen is None else screen
        shards = self._shards(np.arange(len(truth.tokens)), 4 if screen is None else 2)
        self.engines = [factory(rows, max_cache_bytes) for rows in shards]

    def run(self, masks: Mask) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the logits (S, C) under each of masks (N, L, H), a block of masks at a time."""
        samples = len(self._truth.tokens)
        step = max(1, _ANSWER_BYTES // (samples * self._truth.num_classes * 4))
        for start in range(0, len(masks), step):
            block = masks[start : start + step]
            logits = np.empty((len(block), samples, self._truth.num_classes), np.float32)
            for engine in self.engines:
                logits[:, engine.rows] = engine.run(block)
                if len(self.engines) > 1:
                    engine.clear()
            for mask, answer in zip(block, logits, strict=True):
                exact = np.full(samples, not self.screens)
                for rows in unsure(answer) if self.screens else ():
                    few = self._truth.tokens.lengths[rows].sum() <= _SHARD_TOKENS
                    near = self._near if few else None
                    answer[rows] = (
                        self._exactly(mask, rows) if near is None else near.run(mask, rows)
                    )
                    exact[rows] = True
                    self.rechecked += len(rows)
                self._refer(mask, answer, exact)
                self.computed += samples
                yield answer

    def _refer(
        self, mask: Mask, logits: npt.NDArray[np.float32], exact: npt.NDArray[np.bool_]
    ) -> None:
        """Replace, in place, the logits (S, C) of exact samples (S,) that are tied."""
        tied = np.flatnonzero(exact & (top_two_gap(logits) <= self._tie_bound))
        if tied.size:
            rows, truth = self._truth.reference_logits(mask, tied)
            keep = np.isin(rows, tied)
            logits[rows[keep]] = truth[keep]
            self.referred += len(tied)

    def _exactly(self, mask: Mask, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the logits (R, C) of many rows in float32."""
        logits = np.empty((len(rows), self._truth.num_classes), np.float32)
        for places in self._shards(rows, 4):
            logits[places] = self._exact(rows[places], 0).run(mask[None])[0]
        return logits

    def _shards(self, rows: npt.NDArray[np.int64], itemsize: int) -> list[npt.NDArray[np.int64]]:
        """Split rows (R,) into parts of which two states, one made from the other, fit the memory.

        Returns:
            Places in `rows`, (P,) each.
        """
        layer = self._truth.heads.layers[0]
        lengths = self._truth.tokens.lengths[rows]
        state = 2 * layer.num_heads * layer.head_dim * itemsize
        tokens = max(_SHARD_TOKENS, self._cache_bytes // (2 * state))
        parts = -(-int(lengths.sum()) // tokens) if self.kind == "packed" else 1
        order = np.argsort(lengths, kind="stable")
        return [part for part in np.array_split(order, parts) if part.size]

    def _proven(self) -> tuple[str, EngineFactory, float]:
        """Return the first kind of engine that agrees with the reference, and a bound for ties."""
        scale = _scale(self._proof)
        for kind in _KINDS:
            factory = self._candidate(kind, torch.float32)
            if factory is None:
                continue
            try:
                answers = factory(self._proof_rows, self._cache_bytes).run(self._proof_masks)
            except ENGINE_ERRORS as error:
                logger.debug("The %s evaluation is off: %s", kind, error)
                continue
            worst = _difference(answers, self._proof)
            if worst <= _TOLERANCE * scale:
                logger.debug("The %s evaluation is on: it differs by %.1e", kind, worst)
                return kind, factory, max(_TIE_FACTOR * worst, _TIE_FLOOR * scale)
            logger.debug("The %s evaluation is off: it differs by %.1e", kind, worst)
        plain = self._candidate("plain", torch.float32)
        assert plain is not None  # it is the model itself
        return "plain", plain, _TOLERANCE * scale

    def _screen(self) -> EngineFactory | None:
        """Return the proven kind in bfloat16, or None if its errors are too large to be of use."""
        factory = self._candidate(self.kind, torch.bfloat16)
        assert factory is not None  # it was proven in float32
        try:
            answers = factory(self._proof_rows, self._cache_bytes).run(self._proof_masks)
        except ENGINE_ERRORS as error:
            logger.debug("The bfloat16 screen is off: %s", error)
            return None
        useful = is_useful(answers, self._proof)
        logger.debug("The bfloat16 screen is %s", "on" if useful else "off")
        return factory if useful else None

    def _candidate(self, kind: str, dtype: torch.dtype) -> EngineFactory | None:
        """Return a kind of engine, or None if the modules of the model do not allow it."""
        truth, tokens, model = self._truth, self._truth.tokens, self._truth.model
        if kind == "packed":
            if not isinstance(tokens, TokenRows) or not PackedModel.fits(model, truth.heads):
                return None
            return _PackedFactory(PackedModel(model, truth.heads, dtype, truth.unit_map), tokens)
        if dtype != torch.float32:
            twin: nn.Module = copy.deepcopy(model)
            model = cast(PreTrainedModel, twin.to(dtype))
        heads = find_heads(model)
        layers = find_layers(model, heads) if kind == "layerwise" else None
        if kind == "layerwise" and layers is None:
            return None

        def engine(rows: npt.NDArray[np.int64], size: int) -> Engine:
            kept = size if layers else 0
            return LayerwiseEngine(
                model,
                heads,
                layers,
                tokens=tokens,
                rows=rows,
                max_cache_bytes=kept,
                unit_map=truth.unit_map,
            )

        return engine


@dataclass(frozen=True)
class _PackedFactory:
    """Makes packed engines."""

    packed: PackedModel
    tokens: TokenRows

    def __call__(self, rows: npt.NDArray[np.int64], size: int) -> Engine:
        return PackedEngine(self.packed, self.tokens, rows, size)


def agrees(answers: Floats, truth: Floats) -> bool:
    """Whether logits (..., C) in float32 are those of the model, but for the order of sums."""
    return _difference(answers, truth) <= _TOLERANCE * _scale(truth)


def is_useful(answers: Floats, truth: Floats) -> bool:
    """Whether logits (..., C) in bfloat16 are near enough: errors well below leads."""
    finite = np.isfinite(answers) & np.isfinite(truth)
    errors = np.ptp(np.where(finite, answers - truth, 0.0), axis=-1)
    share = float(np.median(errors) / max(np.median(top_two_gap(truth)), 1e-12))
    logger.debug("In bfloat16 the median error is %.2g of the median lead", share)
    return share <= _WORST_SCREEN


def _difference(answers: Floats, truth: Floats) -> float:
    """Return the largest difference; infinite where only one is finite."""
    if (np.isfinite(answers) != np.isfinite(truth)).any():
        return float("inf")
    return float(np.nan_to_num(np.abs(answers - truth), posinf=0.0).max())


def _scale(truth: Floats) -> float:
    """Return what differences are measured by: the largest logit, and one more."""
    return 1.0 + float(np.abs(truth[np.isfinite(truth)]).max(initial=0))


def _proof_masks(available: Mask) -> Mask:
    """Return masks (N, L, H): all heads, random ones, and neighbours that differ in one layer."""
    random = np.random.default_rng(_PROOF_SEED)
    layers = len(available)
    half = random.random(available.shape) < 0.5
    few = random.random(available.shape) < 0.2
    neighbours = [half.copy() for _ in range(2)]
    neighbours[0][layers // 2] = few[layers // 2]
    neighbours[1][-1] = ~half[-1]
    masks: Mask = np.stack([available, half, few, *neighbours]) & available
    return masks
