"""The gradient metrics against autograd and finite differences written out by hand."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from prune_env.data.dataset import TextDataset
from prune_env.errors import DataError, ModelError
from prune_env.importance import head_importance
from prune_env.models.gates import HeadGates
from prune_env.models.heads import find_heads
from tests.importance.support import Classifier, classifier


def reference_losses(subject: Classifier, data: TextDataset) -> torch.Tensor:
    """Cross-entropy of every sentence, one sentence at a time, so without padding."""
    losses = []
    for text, label in zip(data.texts, data.labels, strict=True):
        inputs = subject.tokenizer(text, return_tensors="pt")
        losses.append(cross_entropy(subject.model(**inputs).logits, torch.tensor([int(label)])))
    return torch.stack(losses)


def measure(subject: Classifier, data: TextDataset, name: str, **options: int) -> np.ndarray:
    return head_importance(subject.model, subject.tokenizer, data, [name], **options)[..., 0]


def test_key_gradient_is_the_norm_of_each_heads_rows(tiny_data: TextDataset) -> None:
    subject = classifier()
    data = tiny_data.select(range(12))
    expected = np.zeros((2, 4))
    layers = subject.model.bert.encoder.layer
    keys = [layer.attention.self.key.weight for layer in layers]
    gradients = torch.autograd.grad(reference_losses(subject, data).mean(), keys)
    for layer, gradient in enumerate(gradients):
        for head in range(4):
            expected[layer, head] = gradient[head * 8 : (head + 1) * 8].norm()
    actual = measure(subject, data, "key_gradient", batch_size=5)
    np.testing.assert_allclose(actual, expected, rtol=1e-4)
    assert (expected.std(1) > 0.05 * expected.mean(1)).all()  # heads differ, so order is tested


def test_gate_gradient_matches_finite_differences(tiny_data: TextDataset) -> None:
    subject = classifier()
    subject.model.double()
    data = tiny_data.select(range(6))
    heads = find_heads(subject.model)
    expected, step = np.zeros((2, 4)), 1e-5
    with HeadGates(subject.model, heads) as gates, torch.no_grad():
        for layer, head in np.ndindex(2, 4):
            ends = []
            for sign in (1, -1):
                gate = np.ones((2, 4))
                gate[layer, head] += sign * step
                gates.set(gate)
                ends.append(reference_losses(subject, data))
            expected[layer, head] = ((ends[0] - ends[1]) / (2 * step)).abs().mean()
    # The loss is computed in float32, hence the tolerance.
    actual = measure(subject, data, "gate_gradient", batch_size=4)
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["key_gradient", "gate_gradient"])
def test_batch_size_and_padding_change_nothing(name: str, tiny_data: TextDataset) -> None:
    subject = classifier()
    one = measure(subject, tiny_data, name, batch_size=1)
    np.testing.assert_allclose(one, measure(subject, tiny_data, name, batch_size=8), rtol=1e-3)


def test_released_key_gradient_scores_every_head_alike(tiny_data: TextDataset) -> None:
    scores = measure(classifier(heads=3, hidden=24), tiny_data, "key_gradient_released")
    np.testing.assert_allclose(scores, 1 / 3, rtol=1e-6)
    assert (scores == scores[:, :1]).all()


def test_shared_key_heads_share_their_gradient(tiny_data: TextDataset) -> None:
    subject = classifier()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(subject.tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=32,
        initializer_range=0.3,
        pad_token_id=0,
    )
    model = LlamaForSequenceClassification(config).eval()
    names = ["key_gradient", "gate_gradient", "cls_variance", "magnitude"]
    values = head_importance(model, subject.tokenizer, tiny_data, names)
    keys = values[..., 0]
    assert (keys[:, 0] == keys[:, 1]).all()
    assert (keys[:, 1] != keys[:, 2]).all()
    assert (values > 0).all()


def test_fused_projections_are_measured_too(tiny_data: TextDataset) -> None:
    subject = classifier()
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(subject.tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
        initializer_range=0.3,
        pad_token_id=0,
    )
    model = GPT2ForSequenceClassification(config).eval()
    data = tiny_data.select(range(8))
    actual = head_importance(model, subject.tokenizer, data, ["key_gradient"], batch_size=3)
    subject = Classifier(model, subject.tokenizer)
    fused = [block.attn.c_attn.weight for block in model.transformer.h]
    gradients = torch.autograd.grad(reference_losses(subject, data).mean(), fused)
    for layer, gradient in enumerate(gradients):
        key = gradient[:, 32:64].unflatten(1, (4, 8))
        np.testing.assert_allclose(actual[layer, :, 0], key.norm(dim=(0, 2)), rtol=1e-4)


def test_labels_outside_the_model_are_refused(tiny_data: TextDataset) -> None:
    data = TextDataset(tiny_data.texts[:2], np.array([0, 2]), ("a", "b", "c"), "test")
    with pytest.raises(DataError, match="outside the model's range"):
        measure(classifier(), data, "key_gradient")


def test_an_encoder_has_no_loss(tiny_data: TextDataset) -> None:
    subject = classifier()
    encoder = subject.model.bert
    with pytest.raises(ModelError, match="no classification head"):
        head_importance(encoder, subject.tokenizer, tiny_data, ["gate_gradient"])
