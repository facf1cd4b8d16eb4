"""The model under study with its clean sentences: what a metric may read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
from transformers import PreTrainedModel

from prune_env.data.dataset import TextDataset
from prune_env.errors import DataError, SettingsError
from prune_env.models.forward import Batch, batches
from prune_env.models.heads import HeadMap, find_heads
from prune_env.models.inputs import check_kind, make_rows

T = TypeVar("T")


@dataclass(frozen=True)
class LabelledBatch(Batch):
    """Samples of similar length with their labels.

    Attributes:
        labels: Int64 (B,), on the model's device.
    """

    labels: torch.Tensor


class Probe:
    """A model, its heads and its clean data, with the passes over them that are already done.

    The arguments are those of `head_importance`.

    Raises:
        SettingsError: A size is below 1.
        DataError: There is no sentence, or the model reads images and the data holds texts, or the
            other way round.
        UnsupportedModelError: The heads cannot be found.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        dataset: TextDataset,
        *,
        batch_size: int = 32,
        max_length: int = 128,
        max_sentences: int | None = None,
        seed: int = 0,
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
        self._passes: dict[Callable[[Probe], object], object] = {}
        rows = np.arange(len(dataset))
        if max_sentences is not None and max_sentences < len(dataset):
            random = np.random.default_rng(seed)
            rows = np.sort(random.choice(rows, size=max_sentences, replace=False))
        check_kind(tokenizer, dataset)
        self._samples = make_rows([dataset.texts[row] for row in rows], tokenizer, max_length)
        self._labels = torch.from_numpy(dataset.labels[rows])
        self._batch_size = batch_size

    @property
    def sentences(self) -> int:
        """Number of sentences measured on."""
        return len(self._samples)

    def batches(self, description: str) -> Iterator[LabelledBatch]:
        """Yield every sentence once, in an order that the data alone decides.

        Args:
            description: Of the pass, for the progress bar.
        """
        device = self.model.device
        for batch in batches(self._samples, device, size=self._batch_size, description=description):
            yield LabelledBatch(batch.rows, batch.inputs, self._labels[batch.rows].to(device))

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
