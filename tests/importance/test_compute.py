"""What holds for every metric: shape, determinism, a model left as it was, clear refusals."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from prune_env.data.dataset import TextDataset
from prune_env.errors import DataError, MetricError, SettingsError, UnknownNameError
from prune_env.importance import DEFAULT_METRICS, METRICS, head_importance
from prune_env.importance.probe import Probe
from prune_env.models.gates import HeadGates
from tests.importance.support import Classifier, classifier

NAMES = METRICS.names()


def measure(subject: Classifier, data: TextDataset, **options: object) -> np.ndarray:
    return head_importance(subject.model, subject.tokenizer, data, NAMES, **options)


def test_every_metric_at_once_equals_each_alone(tiny_data: TextDataset) -> None:
    subject = classifier()
    together = measure(subject, tiny_data)
    assert together.shape == (2, 4, len(NAMES))
    assert together.dtype == np.float64
    for column, name in enumerate(NAMES):
        alone = head_importance(subject.model, subject.tokenizer, tiny_data, [name])
        assert np.array_equal(together[..., column], alone[..., 0]), name
    assert np.array_equal(together, measure(subject, tiny_data))


@pytest.mark.parametrize("train", [False, True])
def test_the_model_is_left_as_it_was(train: bool, tiny_data: TextDataset) -> None:
    subject = classifier()
    model = subject.model.train(train)
    model.bert.encoder.layer[0].train(not train)  # modules may differ
    frozen = model.bert.encoder.layer[1].attention.self.key.weight.requires_grad_(False)
    held = model.bert.encoder.layer[0].attention.self.key.weight
    held.grad = torch.ones_like(held)
    modes = [module.training for module in model.modules()]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    config, hooks = model.config.to_dict(), [len(m._forward_pre_hooks) for m in model.modules()]
    implementation = model.config._attn_implementation
    torch.manual_seed(3)
    random = torch.get_rng_state()
    measure(subject, tiny_data)
    assert torch.equal(random, torch.get_rng_state())
    assert [module.training for module in model.modules()] == modes
    assert [len(m._forward_pre_hooks) for m in model.modules()] == hooks
    assert not frozen.requires_grad
    assert torch.equal(held.grad, torch.ones_like(held))
    assert all(parameter.grad is None for parameter in model.parameters() if parameter is not held)
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert model.config.to_dict() == config
    assert model.config._attn_implementation == implementation == "sdpa"


def test_a_failing_metric_leaves_the_model_as_it_was(tiny_data: TextDataset) -> None:
    subject = classifier()
    with torch.no_grad():
        subject.model.classifier.weight.fill_(torch.nan)
    with pytest.raises(MetricError, match="not finite"):
        head_importance(subject.model, subject.tokenizer, tiny_data, ["gate_gradient"])
    assert not any(module._forward_pre_hooks for module in subject.model.modules())
    assert subject.model.config._attn_implementation == "sdpa"


def test_a_masked_model_is_measured_as_masked(tiny_data: TextDataset) -> None:
    subject = classifier()
    mask = np.ones((2, 4), dtype=bool)
    mask[0, 2] = False
    with HeadGates(subject.model) as gates:
        gates.set(mask)
        values = head_importance(subject.model, subject.tokenizer, tiny_data, DEFAULT_METRICS)
    gradients = values[..., :2]
    assert (gradients[0, 2] == 0).all()
    assert (gradients[mask] > 0).all()


def test_layers_with_fewer_heads_are_padded_with_zeros(tiny_data: TextDataset) -> None:
    subject = classifier()
    attention = subject.model.bert.encoder.layer[1].attention.self
    attention.num_attention_heads, attention.attention_head_size = 2, 16
    attention.scaling = 16**-0.5
    values = head_importance(subject.model, subject.tokenizer, tiny_data, NAMES)
    assert (values[1, 2:] == 0).all()
    assert (values[0] > 0).all()
    assert (values[1, :2] > 0).all()


def test_a_draw_of_sentences_is_seeded_and_smaller(tiny_data: TextDataset) -> None:
    subject = classifier()
    options = {"batch_size": 3, "max_length": 128, "max_sentences": 7}
    drawn = [
        Probe(subject.model, subject.tokenizer, tiny_data, seed=seed, **options)
        for seed in (0, 0, 1)
    ]
    assert [item.sentences for item in drawn] == [7, 7, 7]
    ids = [
        torch.cat([b.inputs["input_ids"].flatten() for b in item.batches("x")]) for item in drawn
    ]
    assert torch.equal(ids[0], ids[1])
    assert not torch.equal(ids[0], ids[2])


def test_a_metric_of_ones_own(tiny_data: TextDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    METRICS.register("depth", lambda s: np.indices(s.heads.shape)[0].astype(float), help="layer")
    METRICS.register("flat", lambda s: np.ones(3), help="wrong shape")
    subject = classifier()
    values = head_importance(subject.model, subject.tokenizer, tiny_data, ["magnitude", "depth"])
    assert values[..., 1].tolist() == [[0] * 4, [1] * 4]
    with pytest.raises(MetricError, match=r"shape \(3,\)"):
        head_importance(subject.model, subject.tokenizer, tiny_data, ["flat"])


def test_bad_arguments_are_refused(tiny_data: TextDataset) -> None:
    subject = classifier()
    with pytest.raises(UnknownNameError, match="did you mean 'magnitude'"):
        head_importance(subject.model, subject.tokenizer, tiny_data, ["magnitud"])
    with pytest.raises(SettingsError, match=r"Actual: is_map, step\. Remedy: .*--units hybrid"):
        head_importance(
            subject.model, subject.tokenizer, tiny_data, ["magnitude", "is_map", "step"]
        )
    with pytest.raises(SettingsError, match="batch_size"):
        measure(subject, tiny_data, batch_size=0)
    with pytest.raises(DataError, match="clean sentences"):
        measure(subject, tiny_data.select([]))


def test_listing_metrics_imports_no_torch() -> None:
    code = "import sys; from prune_env.importance import METRICS; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
