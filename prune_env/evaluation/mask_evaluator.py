"""The fast evaluator: the classes of the reference, at the speed of the hardware."""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedModel

from prune_env.data.dataset import TextDataset
from prune_env.errors import SettingsError
from prune_env.evaluation.base import Evaluation, predicted_classes
from prune_env.evaluation.fast.backend import Backend
from prune_env.evaluation.fast.memo import Memo, mask_keys
from prune_env.evaluation.model_evaluator import ModelEvaluator
from prune_env.models.masks import Mask
from prune_env.models.unit_map import UnitMap
from prune_env.settings import Precision
from prune_env.utils.runtime import use_bf16

_MEMO_SHARE = 16  # of the memory, one part in so many keeps logits of masks that were answered


class MaskEvaluator(ModelEvaluator):
    """Answers as `ReferenceEvaluator` does, and computes only what a new mask changes.

    *Exact* means: for every mask, the predicted class of every sample is the reference's. Logits,
    margins and losses of samples that are far from a decision come from the bfloat16 pass where
    that is used (`precision`), and carry its rounding error.

    A mask that was asked before is answered from memory. Otherwise the fastest way that proves
    right on this model and data computes it; see `Backend` for the ways and `backend` for
    what was chosen. The choice is made at the first mask and takes a few reference batches.

    Args:
        model: A sequence classifier with float32 weights, on the device to be used; held once,
            with one more copy of its blocks in bfloat16 if that is used.
        tokenizer: Its tokenizer, or its image processor.
        dataset: The texts and labels.
        batch_size: Rows of a reference batch.
        max_length: Longer texts are cut to so many tokens.
        max_cache_bytes: Memory for what earlier masks computed. What does not fit is computed
            again; the answers are the same.
        precision: "bf16" screens in bfloat16, "fp32" does not, "auto" screens where the hardware
            multiplies bfloat16.
        unit_map: The units that masks choose from; None for heads alone.

    Raises:
        SettingsError: A setting is out of range.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        dataset: TextDataset,
        *,
        batch_size: int = 32,
        max_length: int = 128,
        max_cache_bytes: int = 3 << 28,
        precision: Precision = "auto",
        unit_map: UnitMap | None = None,
    ) -> None:
        if max_cache_bytes < 1:
            raise SettingsError(
                "max_cache_bytes must be positive", expected=">= 1", actual=max_cache_bytes
            )
        if precision not in ("auto", "bf16", "fp32"):
            raise SettingsError(
                "precision is unknown", expected="auto, bf16 or fp32", actual=precision
            )
        super().__init__(
            model,
            tokenizer,
            dataset,
            batch_size=batch_size,
            max_length=max_length,
            unit_map=unit_map,
        )
        logits_bytes = max_cache_bytes // _MEMO_SHARE
        self._states_bytes = max_cache_bytes - logits_bytes
        self._precision: Precision = precision
        self._memo = Memo(len(self.tokens), max_logits_bytes=logits_bytes)
        self._memo_hits = 0

    @cached_property
    def backend(self) -> Backend:
        """What computes masks that were not asked before, chosen at first use."""
        return Backend(
            self,
            bf16=use_bf16(self._precision, self.device),
            max_cache_bytes=self._states_bytes,
        )

    def release(self) -> None:
        """Give back the memory of what computes masks; the next new mask makes it again."""
        vars(self).pop("backend", None)

    @property
    def memo_hits(self) -> int:
        """Masks that were answered from memory since creation."""
        return self._memo_hits

    def evaluate(self, masks: Mask) -> Evaluation:
        """Return the answers under masks (N, L, H)."""
        checked = self._checked(masks)
        keys = mask_keys(checked)
        held = {key: self._memo.logits(key) for key in keys}
        wanted = self._count(keys, [held[key] is None for key in keys])
        answers = self.backend.run(checked[wanted]) if wanted else ()
        for index, logits in zip(wanted, answers, strict=True):
            held[keys[index]] = self._remember(keys[index], logits)
        shape = (len(keys), len(self.tokens), self.num_classes)
        logits = np.array([held[key] for key in keys], np.float32).reshape(shape)
        return Evaluation.from_logits(logits, self.labels)

    def accuracy(self, masks: Mask) -> npt.NDArray[np.float64]:
        """Return the accuracy (N,) under masks (N, L, H)."""
        checked = self._checked(masks)
        keys = mask_keys(checked)
        wanted = self._count(keys, [self._memo.bits(key) is None for key in keys])
        answers = self.backend.run(checked[wanted]) if wanted else ()
        for index, logits in zip(wanted, answers, strict=True):
            self._remember(keys[index], logits)
        bits = [self._memo.bits(key) for key in keys]
        right = [word.bit_count() for word in bits if word is not None]
        accuracy: npt.NDArray[np.float64] = np.array(right, np.float64) / len(self.tokens)
        return accuracy

    def correct(self, masks: Mask) -> npt.NDArray[np.bool_]:
        """Return which samples (N, S) are right under masks (N, L, H)."""
        self.accuracy(masks)  # now the memory knows each of them
        keys = mask_keys(self._checked(masks))
        shape = (len(keys), len(self.tokens))
        return np.array([self._memo.correct(key) for key in keys], np.bool_).reshape(shape)

    def _count(self, keys: list[bytes], missing: list[bool]) -> list[int]:
        """Return the place where each missing mask first stands, and count the others as hits."""
        first = dict(zip(reversed(keys), reversed(range(len(keys))), strict=True))
        wanted = sorted(index for index in first.values() if missing[index])
        self._memo_hits += len(keys) - len(wanted)
        return wanted

    def _remember(self, key: bytes, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Count a mask that was computed, and return its logits (S, C), which are kept."""
        self._evaluations += 1
        own = logits.copy()  # it is a row of a block that need not stay
        self._memo.put(key, predicted_classes(own) == self.labels, own)
        return own
