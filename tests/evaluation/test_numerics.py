"""Precision, threads and batch sizes change no class."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
import torch

from prune_env.data.dataset import TextDataset
from prune_env.evaluation import MaskEvaluator, ReferenceEvaluator
from prune_env.models import LoadedModel
from tests.evaluation.support import random_masks


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_precision_threads_and_batches_change_no_class(
    tiny_model: LoadedModel, tiny_data: TextDataset
) -> None:
    data = tiny_data.select(np.arange(40))
    reference = ReferenceEvaluator(tiny_model.model, tiny_model.tokenizer, data)
    masks = random_masks(reference, 4)
    torch.set_num_threads(1)
    expected = reference.evaluate(masks).predictions
    assert len(np.unique(expected, axis=0)) > 1
    for precision, threads, batch_size in product(("fp32", "bf16"), (1, 2), (1, 32, len(data))):
        torch.set_num_threads(threads)
        evaluator = MaskEvaluator(
            tiny_model.model,
            tiny_model.tokenizer,
            data,
            precision=precision,
            batch_size=batch_size,
        )
        found = evaluator.evaluate(masks).predictions
        assert np.array_equal(found, expected), (precision, threads, batch_size)
