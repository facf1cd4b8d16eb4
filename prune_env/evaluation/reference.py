"""The obvious evaluator, which defines the truth."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from prune_env.data.dataset import TextDataset
from prune_env.errors import SettingsError
from prune_env.evaluation.base import Masks
from prune_env.evaluation.model_evaluator import ModelEvaluator, inference
from prune_env.models.gates import HeadGates


class ReferenceEvaluator(ModelEvaluator):
    """Runs the whole model for every mask: head gates, float32, fixed batches in the given order.

    Args:
        model: A sequence classifier with float32 weights, on the device to be used.
        tokenizer: Its tokenizer.
        dataset: The texts and labels, or several sets by name; see `ModelEvaluator`.
        batch_size: Rows of a batch, in the order of the data, padded to the longest of them.
        max_length: Longer texts are cut to so many tokens.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        dataset: TextDataset | Mapping[str, TextDataset],
        *,
        batch_size: int = 32,
        max_length: int = 128,
    ) -> None:
        if batch_size < 1:
            raise SettingsError("batch_size must be positive", expected=">= 1", actual=batch_size)
        super().__init__(model, tokenizer, dataset, max_length=max_length)
        size = len(self.rows)
        self._batch_rows = [
            np.arange(start, min(start + batch_size, size)) for start in range(0, size, batch_size)
        ]
        self._batch_size = batch_size

    def logits_around(
        self, mask: Masks, rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Answer for every row that shares a batch with one of `rows`, under a mask (L, H).

        Returns:
            The rows (R,) and their logits float32 (R, C), bit for bit those of `evaluate`.
        """
        batches = [self._batch_rows[index] for index in np.unique(rows // self._batch_size)]
        with inference(self.model), HeadGates(self.model, self.heads) as gates:
            gates.set(mask)
            logits = [
                self.model(**self.rows.batch(batch, self.device)).logits.float().cpu().numpy()
                for batch in batches
            ]
        return np.concatenate(batches), np.concatenate(logits)

    def _logits(self, masks: Masks) -> npt.NDArray[np.float32]:
        everything = np.arange(len(self.rows))
        self._evaluations += len(masks)
        logits = [self.logits_around(mask, everything)[1] for mask in masks]
        shape = (len(masks), len(self.rows), self.model.config.num_labels)
        return np.array(logits, np.float32).reshape(shape)
