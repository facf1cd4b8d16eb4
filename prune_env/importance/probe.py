"""The model under study with its clean sentences: what a metric may read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import torch
from transformers import DataCollatorWithPadding, PreTrainedModel, PreTrainedTokenizerBase

from prune_env.data.dataset import TextDataset
from prune_env.errors import DataError, SettingsError
from prune_env.models.heads import HeadMap, find_heads
from prune_env.progress import progress

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Sentences of similar length, on the model's device.

    Attributes:
        inputs: Arguments of the model's forward: `input_ids`, `attention_mask`, ... (B, n).
        labels: Int64 (B,).
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor

    @property
    def mask(self) -> torch.Tensor:
        """Int64 (B, n), 1 where the token is real."""
        return self.inputs["attention_mask"]


class Probe:
    """A model, its heads and its clean data, with the passes over them that are already done.

    The arguments are those of `head_importance`.

    Raises:
        SettingsError: A size is below 1.
        DataError: There is no sentence.
        UnsupportedModelError: The heads cannot be found.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        dataset: TextDataset,
        *,
        batch_size: int = 32,
        max_length: int = 128,
        max_sentences: int | None = None,
        seed: int = 0,
        reference_encoder: PreTrainedModel | None = None,
    ) -> None:
        for name, value in (
            ("batch_size", batch_size),
            ("max_length", max_length),
            ("max_sentences", max_sentences),
        ):
            if value is not None and value < 1:
                raise SettingsError(f"{name} is out of range", expected=">= 1", actual=value)
        if len(dataset) == 0:
            raise DataError("Importance needs clean sentences", expected=">= 1", actual=0)
        self.model = model
        self.heads: HeadMap = find_heads(model)
        self.seed = seed
        self.reference_encoder = reference_encoder
        self._passes: dict[Callable[[Probe], object], object] = {}
        self._batches = self._make_batches(
            tokenizer, dataset, batch_size, max_length, max_sentences
        )

    @property
    def sentences(self) -> int:
        """Number of sentences measured on."""
        return sum(len(batch["labels"]) for batch in self._batches)

    def batches(self, description: str) -> Iterator[Batch]:
        """Yield every sentence once, in an order that the data alone decides.

        Args:
            description: Of the pass, for the progress bar.
        """
        done = 0
        with progress(description, self.sentences) as advance:
            for batch in self._batches:
                inputs = {key: value.to(self.model.device) for key, value in batch.items()}
                labels = inputs.pop("labels")
                yield Batch(inputs, labels)
                done += len(labels)
                advance(done)

    def once(self, measure: Callable[["Probe"], T]) -> T:
        """Return `measure(self)`, computed at the first call: metrics of one pass share it."""
        if measure not in self._passes:
            self._passes[measure] = measure(self)
        return cast(T, self._passes[measure])

    @contextmanager
    def mode(self, *, train: bool) -> Iterator[None]:
        """Run the body in train or eval mode, then give every module its own mode back."""
        before = {module: module.training for module in self.model.modules()}
        self.model.train(train)
        try:
            yield
        finally:
            for module, training in before.items():
                module.training = training

    def _make_batches(
        self,
        tokenizer: PreTrainedTokenizerBase,
        dataset: TextDataset,
        batch_size: int,
        max_length: int,
        max_sentences: int | None,
    ) -> list[dict[str, torch.Tensor]]:
        rows = np.arange(len(dataset))
        if max_sentences is not None and max_sentences < len(dataset):
            random = np.random.default_rng(self.seed)
            rows = np.sort(random.choice(rows, size=max_sentences, replace=False))
        texts = [dataset.texts[row] for row in rows]
        encoded = tokenizer(texts, truncation=True, max_length=max_length)
        lengths = np.array([len(ids) for ids in encoded["input_ids"]])
        collate = DataCollatorWithPadding(tokenizer)
        order = np.argsort(lengths, kind="stable")  # similar lengths together: little padding
        batches = []
        for start in range(0, len(order), batch_size):
            features = [
                {
                    **{key: values[index] for key, values in encoded.items()},
                    "labels": int(dataset.labels[rows[index]]),
                }
                for index in order[start : start + batch_size]
            ]
            batches.append(dict(collate(features)))
        return batches
