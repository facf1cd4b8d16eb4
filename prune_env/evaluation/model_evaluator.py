"""What every evaluator of a real transformer shares: data, masks, identity."""

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from prune_env.data.dataset import TextDataset
from prune_env.errors import DataError, ModelError, SettingsError, StateError
from prune_env.evaluation.base import Evaluation, check_masks
from prune_env.models import HeadMap, find_heads
from prune_env.models.forward import class_count, inference
from prune_env.models.inputs import Rows, check_kind, make_rows, token_limit
from prune_env.models.masks import Mask
from prune_env.models.unit_gates import gates_on
from prune_env.models.unit_map import UnitMap
from prune_env.models.units import Units
from prune_env.utils.memory import in_parts

logger = logging.getLogger(__name__)


class ModelEvaluator(ABC):
    """Base of the evaluators of a transformer on labelled texts.

    The weights of the model must not change while an evaluator holds it: it would refuse to answer.

    Args:
        model: A sequence classifier with float32 weights, on the device to be used.
        tokenizer: Its tokenizer, or its image processor.
        dataset: The texts and labels.
        batch_size: Rows of a reference batch, in the order of the data, padded to the longest.
        max_length: Longer texts are cut to so many tokens.
        unit_map: The units that masks choose from; None for heads alone.

    Raises:
        SettingsError: `batch_size` or `max_length` is out of range.
        DataError: There is no text, or a label does not fit the model, or the model reads images
            and the data holds texts, or the other way round.
        ModelError: A weight is not float32, or the model has fewer than two classes.
        UnsupportedModelError: The heads of the model cannot be gated.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        dataset: TextDataset,
        *,
        batch_size: int = 32,
        max_length: int = 128,
        unit_map: UnitMap | None = None,
    ) -> None:
        if batch_size < 1:
            raise SettingsError("batch_size must be positive", expected=">= 1", actual=batch_size)
        _check_model(model)
        self.num_classes = class_count(model)
        _check_data(dataset, self.num_classes)
        check_kind(tokenizer, dataset)
        self.model = model
        self.device = model.device
        self.heads: HeadMap = find_heads(model)
        self.unit_map = unit_map
        limit = token_limit(max_length, tokenizer, model.config)
        self.tokens: Rows = make_rows(dataset.texts, tokenizer, limit)
        if self.tokens.truncated:
            cut = f"{self.tokens.truncated:,} of {len(dataset):,} texts"
            logger.warning("%s were cut to %d tokens", cut, limit)
        self.labels: npt.NDArray[np.int64] = dataset.labels
        self._evaluations = 0
        self._parameters = tuple(model.parameters())
        self._weights_version = self._version()
        self.batches = [
            np.arange(start, min(start + batch_size, len(dataset)))
            for start in range(0, len(dataset), batch_size)
        ]
        self._batch_of = np.repeat(np.arange(len(self.batches)), list(map(len, self.batches)))

    def release(self) -> None:  # noqa: B027 - one that keeps nothing has nothing to release
        """Give back memory that only speed needs; what was answered stays known."""

    @cached_property
    def units(self) -> Units:
        """What the columns of a mask stand for."""
        if self.unit_map is None:
            return Units.of_heads(self.heads.available)
        return self.unit_map.units

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and heads of a mask (L, H); with a map of units, layers and units (L, W)."""
        return self.units.shape

    @property
    def available(self) -> Mask:
        """Bool (L, H), True where a head, or unit, exists."""
        return self.units.available

    @property
    def evaluations(self) -> int:
        """Masks that were really computed since creation."""
        return self._evaluations

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the weights, the configuration, the tokens, the labels and the kind."""
        digest = hashlib.sha256(type(self).__name__.encode())
        config = self.model.config.to_dict()
        for detail in ("_name_or_path", "transformers_version", "dtype"):
            config.pop(detail, None)
        digest.update(json.dumps(config, sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().contiguous().cpu().numpy().tobytes())
        self.tokens.update_hash(digest)
        digest.update(self.labels.astype("<i8").tobytes())
        if self.unit_map is not None:
            digest.update(self.unit_map.sha256.encode())
        return digest.hexdigest()

    @abstractmethod
    def evaluate(self, masks: Mask) -> Evaluation:
        """Return the answers under masks (N, L, H)."""

    def accuracy(self, masks: Mask) -> npt.NDArray[np.float64]:
        """Return the accuracy (N,) under masks (N, L, H)."""
        return self.evaluate(masks).accuracy

    def reference_logits(
        self, mask: Mask, rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Run the reference batches that hold any of `rows`, under a mask (L, H).

        Returns:
            All rows (R,) of those batches and their logits float32 (R, C), which define the truth.
        """
        batches = [self.batches[index] for index in np.unique(self._batch_of[rows])]
        with inference(self.model), gates_on(self.model, self.heads, self.unit_map) as gates:
            gates.set(mask)
            logits = [in_parts(self._plain_logits, batch) for batch in batches]
        return np.concatenate(batches), np.concatenate(logits)

    def _plain_logits(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        logits: torch.Tensor = self.model(**self.tokens.batch(rows, self.device)).logits
        return logits.float().cpu().numpy()

    def _checked(self, masks: Mask) -> Mask:
        """Return checked masks (N, L, H), if the weights are still those of the start."""
        if self._version() != self._weights_version:
            raise StateError(
                "The weights of the model have changed since its evaluator was made",
                remedy="make a new evaluator after training or editing a model",
            )
        return self.units.in_order(check_masks(masks, self.available))

    def _version(self) -> int:
        """Return a number that grows when a weight is changed in place."""
        return sum(parameter._version for parameter in self._parameters)


def _check_model(model: PreTrainedModel) -> None:
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.float32:
            raise ModelError(
                f"The weight {name} is not float32",
                expected="float32, which defines what a model answers",
                actual=parameter.dtype,
                remedy="call model.float(); the evaluator itself uses bfloat16 where that is fast",
            )
    if class_count(model) < 2:
        raise ModelError(
            "The model is no classifier",
            expected="two classes or more",
            actual=class_count(model),
            remedy="load it with num_labels >= 2",
        )


def _check_data(data: TextDataset, classes: int) -> None:
    if not len(data):
        raise DataError(
            f"There is no data to evaluate on in {data.source}",
            expected="at least one text",
            actual="none",
            remedy="give data with rows",
        )
    if data.labels.max() >= classes:
        raise DataError(
            f"A label of {data.source} does not fit the model",
            expected=f"0 to {classes - 1}",
            actual=int(data.labels.max()),
            remedy="load the model with as many labels as the data has",
        )


class ReferenceEvaluator(ModelEvaluator):
    """Runs the whole model for every mask: head gates, float32, fixed batches in the given order.

    Arguments and errors are those of `ModelEvaluator`.
    """

    def evaluate(self, masks: Mask) -> Evaluation:
        """Return the answers under masks (N, L, H)."""
        checked = self._checked(masks)
        everything = np.arange(len(self.tokens))
        shape = (len(checked), len(self.tokens), self.num_classes)
        self._evaluations += len(checked)
        logits = [self.reference_logits(mask, everything)[1] for mask in checked]
        return Evaluation.from_logits(np.array(logits, np.float32).reshape(shape), self.labels)
