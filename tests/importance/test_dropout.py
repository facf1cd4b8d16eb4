"""Monte-Carlo dropout: really on, seeded, refused where there is none."""

import numpy as np
import pytest
import torch

from prune_env.data.dataset import TextDataset
from prune_env.errors import MetricError
from prune_env.importance import head_importance
from prune_env.importance.dropout import PASSES
from tests.importance.support import classifier

NAMES = ("dropout_mean", "dropout_spread", "cls_variance")


def test_dropout_is_on_and_seeded(tiny_data: TextDataset) -> None:
    subject = classifier()
    first, again, other = (
        head_importance(subject.model, subject.tokenizer, tiny_data, NAMES, seed=seed)
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert (first[..., :2] != other[..., :2]).all()
    assert (first[..., 1] > 0).all()
    assert (first[..., 0] != first[..., 2]).all()  # with dropout off these would be equal


def test_mean_and_spread_are_taken_over_passes(tiny_data: TextDataset) -> None:
    subject = classifier()
    data = tiny_data.select([3])
    subject.model.set_attn_implementation("eager")
    inputs = subject.tokenizer(data.texts[0], return_tensors="pt")
    subject.model.train()
    torch.manual_seed(5)
    with torch.no_grad():
        passes = [subject.model(**inputs, output_attentions=True) for _ in range(PASSES)]
    scores = torch.stack(
        [torch.cat(output.attentions)[:, :, 0].double().var(-1) for output in passes]
    ).numpy()
    actual = head_importance(subject.model, subject.tokenizer, data, NAMES[:2], seed=5)
    np.testing.assert_allclose(actual[..., 0], scores.mean(0), rtol=1e-6)
    np.testing.assert_allclose(actual[..., 1], scores.std(0, ddof=1), rtol=1e-6)


def test_a_model_without_dropout_has_no_uncertainty(tiny_data: TextDataset) -> None:
    subject = classifier()
    subject.model.config.attention_probs_dropout_prob = 0.0
    for module in subject.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    with pytest.raises(MetricError, match="dropout probability above 0"):
        head_importance(subject.model, subject.tokenizer, tiny_data, ["dropout_spread"])
