"""What a model that is being changed answers to clean validation data, read once and for all."""

import numpy as np
import numpy.typing as npt

from prune_env.data.dataset import TextDataset
from prune_env.evaluation.metrics import calibrated_shifts
from prune_env.models import LoadedModel
from prune_env.models.forward import class_count, forward
from prune_env.models.inputs import make_rows


class Judge:
    """Answers of a classifier to clean data, as its weights are at the time.

    Evaluators refuse weights that are not those of their start; this is asked after every change.
    In bf16 where that is fast.

    Args:
        loaded: A classifier of texts or images.
        data: Clean data, labels in the order of the logits.
        max_length: Tokens kept of a text.
    """

    def __init__(self, loaded: LoadedModel, data: TextDataset, max_length: int) -> None:
        self._model = loaded.model
        self._labels = data.labels
        self._rows = make_rows(list(data.texts), loaded.tokenizer, max_length)

    def accuracy(self) -> float:
        """Return the accuracy (0 to 1) at calibrated shifts."""
        logits = self._logits()
        answers = (logits - calibrated_shifts(logits, self._labels)).argmax(axis=1)
        return float((answers == self._labels).mean())

    def shifts(self) -> npt.NDArray[np.float64]:
        """Return the shifts (C,) at which each class is answered as often as it is the label."""
        return calibrated_shifts(self._logits(), self._labels)

    def _logits(self) -> npt.NDArray[np.float32]:
        model = self._model
        return forward(
            model,
            self._rows,
            lambda inputs: model(**inputs).logits,
            class_count(model),
            precision="auto",
        )
