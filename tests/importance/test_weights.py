"""Weight metrics against slices written out by hand."""

import copy

import numpy as np
import pytest
import torch

from prune_env.data.dataset import TextDataset
from prune_env.errors import SettingsError
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


def test_distance_counts_every_weight_of_the_head(tiny_data: TextDataset) -> None:
    subject = classifier()
    reference = copy.deepcopy(subject.model.bert)  # an encoder without the head
    attention = subject.model.bert.encoder.layer[1].attention
    with torch.no_grad():
        attention.self.query.weight[8, 0] += 3.0  # head 1
        attention.self.key.weight[9, 0] += 4.0  # head 1
        attention.self.value.weight[31, 5] -= 2.0  # head 3
        attention.output.dense.weight[7, 16] += 1.0  # head 2
        attention.output.dense.bias += 1.0  # belongs to no head
    actual = head_importance(
        subject.model, subject.tokenizer, tiny_data, ["distance"], reference_encoder=reference
    )
    expected = [[0, 0, 0, 0], [0, 5, 1, 2]]
    np.testing.assert_allclose(actual[..., 0], expected, atol=1e-5)


def test_distance_needs_a_reference_of_the_same_shape(tiny_data: TextDataset) -> None:
    subject = classifier()
    with pytest.raises(SettingsError, match="reference_encoder"):
        head_importance(subject.model, subject.tokenizer, tiny_data, ["distance"])
    other = classifier(heads=2).model
    with pytest.raises(SettingsError, match="other heads"):
        head_importance(
            subject.model, subject.tokenizer, tiny_data, ["distance"], reference_encoder=other
        )
