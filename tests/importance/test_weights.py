"""Weight metrics against slices written out by hand."""

import numpy as np
import torch

from prune_env.data.dataset import TextDataset
from prune_env.importance import head_importance
from tests.importance.support import classifier


def test_magnitude_is_the_norm_of_value_rows_and_output_columns(tiny_data: TextDataset) -> None:
    subject = classifier()
    expected = np.zeros((2, 4))
    for index, layer in enumerate(subject.model.bert.encoder.layer):
        for head in range(4):
            own = slice(head * 8, (head + 1) * 8)
            value = layer.attention.self.value.weight[own]
            output = layer.attention.output.dense.weight[:, own]
            expected[index, head] = torch.cat([value.flatten(), output.flatten()]).norm().item()
    actual = head_importance(subject.model, subject.tokenizer, tiny_data, ["magnitude"])
    np.testing.assert_allclose(actual[..., 0], expected, rtol=1e-6)
