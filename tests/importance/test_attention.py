"""The attention metrics against their formulas, one unpadded sentence at a time."""

import numpy as np
import pytest
import torch
from transformers import AlbertConfig, AlbertForSequenceClassification

from prune_env.data.dataset import TextDataset
from prune_env.importance import head_importance
from prune_env.importance.attention import attention_maps, row_variance, summary_row
from tests.importance.support import Classifier, classifier

METRICS = ("cls_variance", "cls_variance_released", "attention_entropy")


def rows(subject: Classifier, text: str) -> np.ndarray:
    """Attention maps (L, H, n, n) of one sentence."""
    inputs = subject.tokenizer(text, truncation=True, max_length=128, return_tensors="pt")
    with attention_maps(subject.model), torch.no_grad():
        maps = subject.model(**inputs).attentions
    return torch.cat(maps).double().numpy()


def test_metrics_follow_their_formulas(tiny_data: TextDataset) -> None:
    subject = classifier()
    data = tiny_data.select(range(10))
    expected = np.zeros((2, 4, 3))
    for text in data.texts:
        maps = rows(subject, text)
        cls, n = maps[:, :, 0], maps.shape[-1]
        expected[..., 0] += cls.var(-1, ddof=1)
        expected[..., 1] += ((cls**2).sum(-1) - 1 / 127) / 126
        expected[..., 2] += -(maps * np.log(maps)).sum(-1).mean(-1)
        np.testing.assert_allclose(
            cls.var(-1, ddof=1), ((cls**2).sum(-1) - 1 / n) / (n - 1), rtol=1e-4
        )
    actual = head_importance(subject.model, subject.tokenizer, data, METRICS, batch_size=4)
    np.testing.assert_allclose(actual, expected / 10, rtol=1e-4)


def test_released_variance_reads_127_columns_of_a_longer_sentence() -> None:
    subject = classifier()
    text = "great " * 200
    data = TextDataset((text,), np.array([1]))
    expected = rows(subject, text)[:, :, 0, :127].var(-1, ddof=1)
    actual = head_importance(subject.model, subject.tokenizer, data, ["cls_variance_released"])
    np.testing.assert_allclose(actual[..., 0], expected, rtol=1e-4)


@pytest.mark.parametrize("name", METRICS)
def test_padding_changes_nothing(name: str, tiny_data: TextDataset) -> None:
    subject = classifier()
    one, eight = (
        head_importance(subject.model, subject.tokenizer, tiny_data, [name], batch_size=size)
        for size in (1, 8)
    )
    np.testing.assert_allclose(one, eight, rtol=1e-4)


def test_a_single_token_has_no_variance() -> None:
    row, mask = torch.ones(1, 2, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.int64)
    assert row_variance(row, mask).tolist() == [[0.0, 0.0]]


def test_the_row_is_that_of_the_token_that_the_classifier_reads() -> None:
    full = torch.full((2, 1, 4, 4), 0.25)
    full[:, :, 0] = torch.tensor([0.7, 0.1, 0.1, 0.1])
    causal = full.tril()
    right = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    left = right.flip(1)
    assert torch.equal(summary_row(full, right)[1, 0], full[1, 0, 0].double())
    assert torch.equal(summary_row(full, left)[0, 0], full[0, 0, 1].double())
    assert torch.equal(summary_row(causal, right)[0, 0], causal[0, 0, 2].double())
    assert torch.equal(summary_row(causal, left)[0, 0], causal[0, 0, 3].double())


@pytest.mark.parametrize(
    ("layers", "groups", "inner", "calls"),
    [
        (3, 1, 1, [[0, 1, 2]]),
        (4, 2, 1, [[0, 1], [2, 3]]),
        (4, 2, 2, [[0, 2], [1, 3], [4, 6], [5, 7]]),  # a group runs its two in turn
    ],
)
def test_layers_that_share_a_module_are_averaged(
    layers: int, groups: int, inner: int, calls: list[list[int]], tiny_data: TextDataset
) -> None:
    subject = classifier()
    torch.manual_seed(0)
    config = AlbertConfig(
        vocab_size=len(subject.tokenizer),
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=layers,
        num_hidden_groups=groups,
        inner_group_num=inner,
        num_attention_heads=4,
        intermediate_size=32,
        initializer_range=0.3,
    )
    model = AlbertForSequenceClassification(config).eval()
    data = tiny_data.select([0])
    actual = head_importance(model, subject.tokenizer, data, ["attention_entropy"])
    maps = rows(Classifier(model, subject.tokenizer), data.texts[0])
    entropy = -(maps * np.log(maps)).sum(-1).mean(2)
    expected = [entropy[own].mean(0) for own in calls]
    np.testing.assert_allclose(actual[..., 0], expected, rtol=1e-4)
