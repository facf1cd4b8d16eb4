from collections.abc import Callable

import numpy as np
import pytest
import torch

from prune_env.errors import ModelError, SettingsError, UnsupportedModelError
from prune_env.models import HeadGates, LoadedModel, check_gates, find_heads
from tests.models.tiny import tiny_classifier, tiny_inputs


@pytest.mark.parametrize(
    "gates",
    [np.ones((2, 3)), np.ones((4, 2)), np.ones(8), np.ones((1, 1, 2, 4)), np.ones((3, 4, 2))],
    ids=lambda gates: str(gates.shape),
)
def test_another_shape_is_refused(tiny_model: LoadedModel, gates: np.ndarray) -> None:
    with HeadGates(tiny_model.model) as attached, pytest.raises(SettingsError, match="gates"):
        attached.set(gates)


def test_gates_per_sample_need_their_batch(tiny_model: LoadedModel) -> None:
    with HeadGates(tiny_model.model) as gates, torch.no_grad():
        gates.set(np.zeros((2, 2, 4), dtype=bool))
        with pytest.raises(SettingsError, match="same size"):
            tiny_model.model(**tiny_inputs(tiny_model))


def test_a_fraction_scales_between_open_and_closed(tiny_model: LoadedModel) -> None:
    batch, outputs = tiny_inputs(tiny_model), []
    layer = find_heads(tiny_model.model).layers[0]
    layer.projection.register_forward_hook(lambda module, args, output: outputs.append(output))
    with HeadGates(tiny_model.model) as gates, torch.no_grad():
        for value in (0.0, 0.25, 1.0):
            gates.set(np.full((2, 4), value))
            tiny_model.model(**batch)
    closed, quarter, full = outputs
    torch.testing.assert_close(quarter, closed + 0.25 * (full - closed), rtol=1e-5, atol=1e-6)


def test_gradients_can_be_taken_again_and_per_sample(tiny_model: LoadedModel) -> None:
    batch = tiny_inputs(tiny_model)
    whole = torch.ones((2, 4), requires_grad=True)
    single = torch.ones((3, 2, 4), requires_grad=True)
    with HeadGates(tiny_model.model) as gates:
        for leaf in (whole, whole, single):
            gates.set(leaf)
            tiny_model.model(**batch).logits[:, 0].sum().backward()
    assert whole.grad is not None
    assert single.grad is not None
    torch.testing.assert_close(single.grad.sum(0), whole.grad / 2)
    assert (single.grad != 0).all()


def test_two_sets_of_gates_multiply(tiny_model: LoadedModel) -> None:
    first, second = np.ones((2, 4), dtype=bool), np.ones((2, 4), dtype=bool)
    first[0, 1] = second[1, 2] = False
    batch = tiny_inputs(tiny_model)
    with torch.no_grad(), HeadGates(tiny_model.model) as outer:
        outer.set(first & second)
        expected = tiny_model.model(**batch).logits
        outer.set(first)
        with HeadGates(tiny_model.model) as inner:
            inner.set(second)
            assert torch.equal(tiny_model.model(**batch).logits, expected)


def test_removal_leaves_no_hook(tiny_model: LoadedModel) -> None:
    gates = HeadGates(tiny_model.model)
    projection = gates.heads.layers[0].projection
    assert projection._forward_pre_hooks
    gates.remove()
    gates.remove()
    assert not projection._forward_pre_hooks


def test_the_head_mask_of_transformers_does_nothing(tiny_model: LoadedModel) -> None:
    """Why gates exist: the day that this fails, read the release notes of transformers."""
    batch = tiny_inputs(tiny_model)
    with torch.no_grad():
        plain = tiny_model.model(**batch).logits
        masked = tiny_model.model(**batch, head_mask=torch.zeros(2, 4)).logits
    assert torch.equal(plain, masked)


def test_shared_layers_are_gated_at_every_call() -> None:
    loaded = tiny_classifier("albert")
    calls = []
    with HeadGates(loaded.model) as gates, torch.no_grad():
        gates.set(np.zeros((1, 4)))
        projection = gates.heads.layers[0].projection
        projection.register_forward_pre_hook(lambda module, args: calls.append(args[0].any()))
        loaded.model(**tiny_inputs(loaded))
    assert [bool(call) for call in calls] == [False, False]


def test_autocast_keeps_gates_exact(tiny_model: LoadedModel) -> None:
    batch = tiny_inputs(tiny_model)
    with HeadGates(tiny_model.model) as gates, torch.no_grad():
        gates.set(np.zeros((2, 4)))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = tiny_model.model(**batch).logits
        high = tiny_model.model(**batch).logits
    torch.testing.assert_close(low.float(), high, rtol=0.1, atol=0.1)


class Changed(torch.nn.Module):
    """Wraps a model so that its logits are changed before anybody sees them."""

    main_input_name = "input_ids"

    def __init__(
        self, model: torch.nn.Module, change: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        super().__init__()
        self.model, self.change = model, change

    def forward(self, **inputs: torch.Tensor) -> object:
        output = self.model(**inputs)
        output.logits = self.change(output.logits)
        return output


def rounded(logits: torch.Tensor) -> torch.Tensor:
    """Return ones, every second row the next number of float32."""
    rows = torch.ones_like(logits)
    rows[1::2] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    return rows


def without_last(logits: torch.Tensor) -> torch.Tensor:
    """Return the rows, the last one, whose last layer is closed, as if nothing were closed."""
    return torch.cat([logits[:-1], logits[:1]])


@pytest.mark.parametrize(
    ("change", "layer"), [(torch.ones_like, 0), (rounded, 0), (without_last, 1)]
)
def test_self_test_finds_a_model_that_ignores_its_heads(
    tiny_model: LoadedModel, change: Callable[[torch.Tensor], torch.Tensor], layer: int
) -> None:
    heads, batch = find_heads(tiny_model.model), tiny_inputs(tiny_model)
    inputs = batch["input_ids"], batch["attention_mask"]
    check_gates(tiny_model.model, heads, *inputs)
    with pytest.raises(UnsupportedModelError, match=f"layer {layer}"):
        check_gates(Changed(tiny_model.model, change), heads, *inputs)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_self_test_finds_spoilt_logits(tiny_model: LoadedModel, value: float) -> None:
    heads, batch = find_heads(tiny_model.model), tiny_inputs(tiny_model)
    spoilt = Changed(tiny_model.model, lambda logits: torch.full_like(logits, value))
    with pytest.raises(ModelError, match="NaN"):
        check_gates(spoilt, heads, batch["input_ids"], batch["attention_mask"])


@pytest.mark.parametrize("dead", [slice(None), slice(0, 1)], ids=["all", "first"])
def test_self_test_allows_heads_that_are_dead_already(tiny_model: LoadedModel, dead: slice) -> None:
    heads, batch = find_heads(tiny_model.model), tiny_inputs(tiny_model)
    with torch.no_grad():
        heads.layers[1].output_weight()[:, dead] = 0
    check_gates(tiny_model.model, heads, batch["input_ids"], batch["attention_mask"])
