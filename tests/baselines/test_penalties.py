"""Penalties against their formulas, and that fine-tuning under them does what they are for."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2ForSequenceClassification

from prune_env.baselines.group_sparsity import head_norms
from prune_env.baselines.meft import Meft
from prune_env.data.dataset import TextDataset
from prune_env.errors import SettingsError, UnknownNameError, UnsupportedModelError
from prune_env.models.heads import find_heads
from prune_env.settings import FineTuneSettings
from prune_env.training.fine_tuning import fine_tune
from prune_env.training.phases import PENALTIES, Phase
from tests.models.tiny import tiny_classifier, tiny_inputs
from tests.support import tiny_bert, tiny_tokenizer


def batch(data: TextDataset, size: int = 6) -> dict[str, torch.Tensor]:
    rows = data.select(range(size))
    inputs = tiny_tokenizer()(list(rows.texts), padding=True, return_tensors="pt")
    names = ("input_ids", "attention_mask")
    return {**{name: inputs[name] for name in names}, "labels": torch.tensor(rows.labels.tolist())}


def test_head_norms_is_a_group_lasso_over_heads() -> None:
    model = tiny_bert()
    expected = 0.0
    for layer in model.bert.encoder.layer:
        for head in range(4):
            own = slice(head * 8, (head + 1) * 8)
            value = layer.attention.self.value.weight[own].flatten()
            output = layer.attention.output.dense.weight[:, own].flatten()
            expected += (2 * 8 * 32) ** 0.5 * torch.cat([value, output]).norm().item()
    assert head_norms(find_heads(model)).item() == pytest.approx(expected, rel=1e-5)


def test_a_dead_head_has_a_finite_gradient() -> None:
    model = tiny_bert()
    attention = model.bert.encoder.layer[0].attention
    with torch.no_grad():
        attention.self.value.weight[:8] = 0
        attention.output.dense.weight[:, :8] = 0
    head_norms(find_heads(model)).backward()
    assert attention.self.value.weight.grad.isfinite().all()


def test_released_sparsity_takes_every_attention_weight(tiny_data: TextDataset) -> None:
    model = tiny_bert()
    expected = 0.0
    for layer in model.bert.encoder.layer:
        attention = layer.attention
        for module in (
            attention.self.query,
            attention.self.key,
            attention.self.value,
            attention.output.dense,
            attention.output.LayerNorm,
        ):
            expected += (module.weight.abs().sum() + module.weight.norm()).item()
    with PENALTIES["sparsity-released"](model, None) as penalty:
        inputs = batch(tiny_data)
        value = penalty(model, inputs, model(**inputs))
    assert value.item() == pytest.approx(1e-4 * expected, rel=1e-5)


def test_released_sparsity_refuses_a_model_where_it_finds_nothing() -> None:
    config = GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=9)
    model = GPT2ForSequenceClassification(config)
    with (
        pytest.raises(UnsupportedModelError, match="variant 'paper'"),
        PENALTIES["sparsity-released"](model, None),
    ):
        pass


@pytest.mark.parametrize("mask", [None, np.array([[1, 0, 1, 1], [0, 1, 1, 1]], dtype=bool)])
def test_attention_norm_weights_layers_and_skips_pruned_heads(
    mask: Any, tiny_data: TextDataset
) -> None:
    model = tiny_bert()
    kept = np.ones((2, 4), dtype=bool) if mask is None else mask
    with PENALTIES["attention-norm"](model, mask) as penalty:
        inputs = batch(tiny_data)
        outputs = model(**inputs)
        value = penalty(model, inputs, outputs)
        paper, released = 0.0, 0.0
        for layer, weight in enumerate((1 / 3, 2 / 3)):
            rows = outputs.attentions[layer][:, kept[layer], 0].detach().numpy()
            squares = (rows**2).sum((1, 2))
            paper += 0.15 * weight * np.sqrt(squares).mean()
            released += 0.15 * weight * np.sqrt(squares.sum())
    assert value.item() == pytest.approx(paper, rel=1e-5)
    with PENALTIES["attention-norm-released"](model, mask) as penalty:
        value = penalty(model, inputs, model(**inputs))
    assert value.item() == pytest.approx(released, rel=1e-5)
    assert model.config._attn_implementation == "sdpa"
    assert not model.config.output_attentions


@pytest.mark.parametrize("name", ["attention-norm", "attention-norm-released"])
def test_attention_norm_reads_the_first_row_of_bert_bit_for_bit(
    name: str, tiny_data: TextDataset
) -> None:
    model, inputs = tiny_bert().train(), batch(tiny_data)
    with PENALTIES[name](model, None) as penalty:
        outputs = model(**inputs)
        value = penalty(model, inputs, outputs)
        layers = [maps[:, :, 0].square().sum((1, 2)) for maps in outputs.attentions]
        released = name.endswith("released")
        norms = [each.sum().sqrt() if released else each.sqrt().mean() for each in layers]
        plain = 0.15 * (torch.stack(norms) * torch.tensor([1 / 3, 2 / 3])).sum()
        query = model.bert.encoder.layer[0].attention.self.query.weight
        gradients = [torch.autograd.grad(each, query, retain_graph=True) for each in (value, plain)]
    assert torch.equal(value, plain)
    assert torch.equal(*(gradient for (gradient,) in gradients))


@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_attention_norm_reads_the_last_real_row_of_a_causal_model(
    model_type: str, tiny_data: TextDataset
) -> None:
    model, inputs = tiny_classifier(model_type).model, batch(tiny_data)
    lengths = inputs["attention_mask"].sum(1)
    assert len(set(lengths.tolist())) > 1
    with PENALTIES["attention-norm"](model, None) as penalty:
        outputs = model(**inputs)
        value = penalty(model, inputs, outputs)
        expected = 0.0
        for maps, weight in zip(outputs.attentions, (1 / 3, 2 / 3), strict=True):
            rows = torch.stack([each[:, n - 1] for each, n in zip(maps, lengths, strict=True)])
            expected += 0.15 * weight * rows.square().sum((1, 2)).sqrt().mean().item()
        (gradient,) = torch.autograd.grad(value, model.get_input_embeddings().weight)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert gradient.abs().max() > 1e-4  # the first row is constant


def test_attention_norm_reads_images() -> None:
    loaded = tiny_classifier("vit")
    inputs = {**tiny_inputs(loaded), "labels": torch.tensor([0, 1, 0])}
    with PENALTIES["attention-norm"](loaded.model, None) as penalty:
        assert penalty(loaded.model, inputs, loaded.model(**inputs)).item() > 0


@pytest.mark.parametrize("name", ["attention-norm", "attention-norm-released"])
def test_a_row_that_dropout_emptied_has_a_finite_gradient(
    name: str, tiny_data: TextDataset
) -> None:
    model, inputs = tiny_bert().train(), batch(tiny_data)
    for layer in model.bert.encoder.layer:
        layer.attention.self.dropout.p = 1.0
    with PENALTIES[name](model, None) as penalty:
        value = penalty(model, inputs, model(**inputs))
    value.backward()
    assert value.item() == pytest.approx(0.0, abs=1e-9)
    for layer in model.bert.encoder.layer:
        assert layer.attention.self.query.weight.grad.isfinite().all()


def test_max_entropy_replaces_the_cross_entropy(tiny_data: TextDataset) -> None:
    model = tiny_bert()
    inputs = batch(tiny_data)
    outputs = model(**inputs)
    p = outputs.logits.detach().softmax(-1).double().numpy()
    with PENALTIES["max-entropy"](model, None) as penalty:
        total = outputs.loss + penalty(model, inputs, outputs)
        assert total.item() == pytest.approx((p * np.log(p)).sum(-1).mean(), rel=1e-4)
        outputs.logits = torch.tensor([[1000.0, -1000.0]], requires_grad=True)
        certain = penalty(model, inputs, outputs) + outputs.loss
        certain.backward()
    assert certain.item() == pytest.approx(0.0, abs=1e-6)  # NaN in the published loss
    assert outputs.logits.grad.isfinite().all()


def train(model: Any, data: TextDataset, phase: Phase) -> Any:
    trained = copy.deepcopy(model)
    settings = FineTuneSettings(epochs=5, batch_size=8, learning_rate=2e-3, precision="fp32")
    with phase.prepared(trained) as penalty:
        fine_tune(trained, tiny_tokenizer(), data, phase.adapt(settings), penalty=penalty)
    return trained


def test_fine_tuning_under_a_penalty_lowers_it(
    tiny_data: TextDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The default is for thousands of steps; these are forty.
    monkeypatch.setattr("prune_env.baselines.group_sparsity.STRENGTH", 1e-2)
    model = tiny_bert()

    def attention(trained: Any) -> float:
        inputs = batch(tiny_data, 64)
        with torch.no_grad(), PENALTIES["attention-norm"](trained, None) as penalty:
            return penalty(trained, inputs, trained.eval()(**inputs)).item()

    plain = train(model, tiny_data, Phase())
    for name, measure in (
        ("group-sparsity", lambda trained: head_norms(find_heads(trained)).item()),
        ("attention-norm", attention),
    ):
        assert measure(train(model, tiny_data, Phase(penalty=name))) < 0.98 * measure(plain), name


def test_meft_forgets_before_it_learns(tiny_data: TextDataset) -> None:
    model = tiny_bert()
    first, second = Meft.requirements().search
    forgetful = train(model, tiny_data, first)
    with torch.no_grad():
        inputs = batch(tiny_data, 64)
        before, after = (m(**inputs).logits.softmax(-1) for m in (model, forgetful))
    assert after.amax(-1).mean() - 0.5 < 0.5 * (before.amax(-1).mean() - 0.5)
    assert first.epochs == 1
    assert second == Phase()


def test_a_phase_adapts_the_callers_settings() -> None:
    settings = FineTuneSettings(epochs=3, learning_rate=2e-5)
    assert Phase().adapt(settings) == settings
    adapted = Phase(epochs=1, learning_rate_scale=2.5).adapt(settings)
    assert (adapted.epochs, adapted.learning_rate) == (1, pytest.approx(5e-5))
    with pytest.raises(SettingsError, match="epochs"):
        Phase(epochs=0)
    with pytest.raises(SettingsError, match="learning_rate_scale"):
        Phase(learning_rate_scale=0)
    with (
        pytest.raises(UnknownNameError, match="attention-norm"),
        Phase(penalty="atention-norm").prepared(tiny_bert()),
    ):
        pass
