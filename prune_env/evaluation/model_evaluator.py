"""What every evaluator of a real transformer shares: data, masks, identity."""

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from prune_env.data.dataset import TextDataset
from prune_env.errors import DataError, ModelError, SettingsError, StateError
from prune_env.evaluation.base import Evaluation, Masks, check_masks
from prune_env.models import HeadGates, HeadMap, find_heads
from prune_env.models.inputs import Rows, check_kind, make_rows, token_limit
from prune_env.utils.memory import in_parts

logger = logging.getLogger(__name__)


class ModelEvaluator(ABC):
    """Base of the evaluators of a transformer on one or several sets of labelled texts.

    The weights of the model must not change while an evaluator holds it: it would refuse to answer.

    Args:
        model: A sequence classifier with float32 weights, on the device to be used.
        tokenizer: Its tokenizer, or its image processor.
        dataset: The texts and labels; or several sets by name, of which the first is the one that
            `evaluate` and `accuracy` answer for, and `evaluate_sets` answers for all.
        batch_size: Rows of a reference batch, in the order of the data, padded to the longest.
        max_length: Longer texts are cut to so many tokens.

    Raises:
        SettingsError: `batch_size` or `max_length` is out of range.
        DataError: A set is empty, or a label does not fit the model, or the model reads images and
            a set holds texts, or the other way round.
        ModelError: A weight is not float32, or the model has fewer than two classes.
        UnsupportedModelError: The heads of the model cannot be gated.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        dataset: TextDataset | Mapping[str, TextDataset],
        *,
        batch_size: int = 32,
        max_length: int = 128,
    ) -> None:
        if batch_size < 1:
            raise SettingsError("batch_size must be positive", expected=">= 1", actual=batch_size)
        sets = {"data": dataset} if isinstance(dataset, TextDataset) else dict(dataset)
        _check_model(model)
        self.num_classes = class_count(model)
        _check_sets(sets, self.num_classes)
        for part in sets.values():
            check_kind(tokenizer, part)
        self.model = model
        self.device = model.device
        self.heads: HeadMap = find_heads(model)
        texts = [text for part in sets.values() for text in part.texts]
        limit = token_limit(max_length, tokenizer, model.config)
        self.tokens: Rows = make_rows(texts, tokenizer, limit)
        if self.tokens.truncated:
            cut = self.tokens.truncated
            logger.warning("%d of %d texts were cut to %d tokens", cut, len(texts), limit)
        self.labels: npt.NDArray[np.int64] = np.concatenate([s.labels for s in sets.values()])
        ends = np.cumsum([len(part) for part in sets.values()]).tolist()
        self._parts = dict(zip(sets, map(slice, [0, *ends[:-1]], ends), strict=True))
        self._primary = next(iter(self._parts.values()))
        self._evaluations = 0
        self._parameters = tuple(model.parameters())
        self._weights_version = self._version()
        self.batches = [
            np.arange(start, min(start + batch_size, part.stop))
            for part in self._parts.values()
            for start in range(part.start, part.stop, batch_size)
        ]
        self._batch_of = np.repeat(np.arange(len(self.batches)), list(map(len, self.batches)))

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and heads of a mask (L, H)."""
        return self.heads.shape

    @property
    def available(self) -> Masks:
        """Bool (L, H), True where a head exists."""
        return self.heads.available

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
        return digest.hexdigest()

    def evaluate(self, masks: Masks) -> Evaluation:
        """Return the answers on the first set under masks (N, L, H)."""
        logits = self._logits(self._checked(masks))
        return Evaluation.from_logits(logits[:, self._primary], self.labels[self._primary])

    def evaluate_sets(self, masks: Masks) -> dict[str, Evaluation]:
        """Return the answers on each set under masks (N, L, H), from the same forward passes."""
        logits = self._logits(self._checked(masks))
        return {
            name: Evaluation.from_logits(logits[:, part], self.labels[part])
            for name, part in self._parts.items()
        }

    def accuracy(self, masks: Masks) -> npt.NDArray[np.float64]:
        """Return the accuracy (N,) on the first set under masks (N, L, H)."""
        return self.evaluate(masks).accuracy

    def gate_gradients(self, mask: Masks) -> npt.NDArray[np.float64]:
        """Return dL/dgate (L, H) at a mask (L, H), L being the mean loss on the first set.

        One forward and backward pass in float32. To first order, pruning a kept head changes the
        loss by minus its gradient, and restoring a pruned one by its gradient (Michel et al.,
        "Are Sixteen Heads Really Better than One?", 2019).
        """
        opened = torch.from_numpy(self._checked(mask[None])[0].astype(np.float32))
        gate = opened.to(self.device).requires_grad_()
        rows = np.arange(self._primary.start, self._primary.stop)
        with evaluation_mode(self.model), HeadGates(self.model, self.heads) as gates:
            gates.set(gate)
            for batch in (self.batches[index] for index in np.unique(self._batch_of[rows])):
                labels = torch.from_numpy(self.labels[batch]).to(self.device)
                logits = self.model(**self.tokens.batch(batch, self.device)).logits
                loss = F.cross_entropy(logits, labels, reduction="sum") / len(rows)
                loss.backward(inputs=[gate])
        assert gate.grad is not None
        return gate.grad.cpu().numpy().astype(np.float64) * self.available

    def reference_logits(
        self, mask: Masks, rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Run the reference batches that hold any of `rows`, under a mask (L, H).

        Returns:
            All rows (R,) of those batches and their logits float32 (R, C), which define the truth.
        """
        batches = [self.batches[index] for index in np.unique(self._batch_of[rows])]
        with inference(self.model), HeadGates(self.model, self.heads) as gates:
            gates.set(mask)
            logits = [in_parts(self._plain_logits, batch) for batch in batches]
        return np.concatenate(batches), np.concatenate(logits)

    def _plain_logits(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        logits: torch.Tensor = self.model(**self.tokens.batch(rows, self.device)).logits
        return logits.float().cpu().numpy()

    def _checked(self, masks: Masks) -> Masks:
        """Return checked masks (N, L, H), if the weights are still those of the start."""
        if self._version() != self._weights_version:
            raise StateError(
                "The weights of the model have changed since its evaluator was made",
                remedy="make a new evaluator after training or editing a model",
            )
        return check_masks(masks, self.available)

    def _version(self) -> int:
        """Return a number that grows when a weight is changed in place."""
        return sum(parameter._version for parameter in self._parameters)

    @abstractmethod
    def _logits(self, masks: Masks) -> npt.NDArray[np.float32]:
        """Return float32 (N, S, C) on the samples of all sets under checked masks."""


@contextmanager
def evaluation_mode(model: PreTrainedModel) -> Iterator[None]:
    """Switch dropout off, and leave the mode of every module as it was."""
    # Most often nothing is to be switched, and that is soon seen; `eval` and `train` take long.
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def inference(model: PreTrainedModel) -> Iterator[None]:
    """Run a model in evaluation mode without gradients."""
    with evaluation_mode(model), torch.inference_mode():
        yield


def class_count(model: PreTrainedModel) -> int:
    """Return the number of classes C of a classifier."""
    return int(model.config.num_labels or 0)


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


def _check_sets(sets: Mapping[str, TextDataset], classes: int) -> None:
    if not sets:
        raise DataError("There is no data to evaluate on", remedy="give at least one set of texts")
    for name, part in sets.items():
        if not len(part):
            raise DataError(
                f"The set '{name}' is empty", expected="at least one text", remedy="fill or omit it"
            )
        if part.labels.max() >= classes:
            raise DataError(
                f"A label of the set '{name}' does not fit the model",
                expected=f"0 to {classes - 1}",
                actual=int(part.labels.max()),
                remedy="load the model with as many labels as the data has",
            )


class ReferenceEvaluator(ModelEvaluator):
    """Runs the whole model for every mask: head gates, float32, fixed batches in the given order.

    Arguments and errors are those of `ModelEvaluator`.
    """

    def _logits(self, masks: Masks) -> npt.NDArray[np.float32]:
        everything = np.arange(len(self.tokens))
        shape = (len(masks), len(self.tokens), self.num_classes)
        self._evaluations += len(masks)
        logits = [self.reference_logits(mask, everything)[1] for mask in masks]
        return np.array(logits, np.float32).reshape(shape)
