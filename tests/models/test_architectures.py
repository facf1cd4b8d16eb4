"""One tester for every supported architecture."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)

from prune_env.errors import UnsupportedModelError
from prune_env.models import (
    HeadGates,
    LoadedModel,
    check_gates,
    find_heads,
    inspect_source,
    load_classifier,
    load_mask,
    zero_heads,
)
from prune_env.models.architectures import IMAGE_TYPES, TEXT_TYPES, VISION_TOWER
from prune_env.models.inputs import make_rows
from prune_env.models.quiet import quiet_transformers
from tests.models.exports import save_zeroed
from tests.models.tiny import SIZES, tiny_classifier, tiny_inputs, write_tiny

# The same weights in another order of additions: only rounding may differ.
EXACT = {"rtol": 0, "atol": 1e-6}


@pytest.fixture(params=sorted(SIZES))
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return tiny_classifier(request.param)


def logits(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return model(**batch).logits


def some_masks(shape: tuple[int, int]) -> np.ndarray:
    """Three different masks, none of them full or empty."""
    masks = np.random.default_rng(3).random((3, *shape)) < 0.5
    masks[:, 0, 0], masks[:, -1, -1] = True, False
    masks[np.arange(3), 0, np.arange(3)] ^= True
    return masks


def test_every_supported_type_is_tested() -> None:
    # The vision tower of CLIP alone is another file of the same model; see below.
    assert {*SIZES, VISION_TOWER} == TEXT_TYPES | IMAGE_TYPES


def test_heads_are_found(loaded: LoadedModel) -> None:
    heads = find_heads(loaded.model)
    assert heads.shape == ((1, 4) if loaded.model.config.model_type == "albert" else (2, 4))
    assert heads.available.all()
    for layer in heads.layers:
        assert layer.head_dim == 8
        assert layer.query.weight().shape == (32, 32)
        assert layer.key.weight().shape == layer.value.weight().shape == (8 * layer.kv_heads, 32)
        assert layer.output_weight().shape == (32, 4, 8)
        assert any(module is layer.projection for module in loaded.model.modules())
        assert loaded.model.get_submodule(layer.key.name) is layer.key.module


def test_every_head_moves_the_logits(loaded: LoadedModel) -> None:
    batch = tiny_inputs(loaded)
    before = logits(loaded.model, batch)
    heads = find_heads(loaded.model)
    with HeadGates(loaded.model, heads) as gates:
        for layer, head in np.argwhere(heads.available):
            mask = np.ones(heads.shape, dtype=bool)
            mask[layer, head] = False
            gates.set(mask)
            assert (logits(loaded.model, batch) - before).abs().max() > 1e-4


def test_gates_equal_zeroed_weights(loaded: LoadedModel) -> None:
    batch = tiny_inputs(loaded)
    for mask in some_masks(find_heads(loaded.model).shape):
        with HeadGates(loaded.model) as gates:
            gates.set(mask)
            gated = logits(loaded.model, batch)
        zeroed = copy.deepcopy(loaded.model)
        zero_heads(zeroed, mask)
        torch.testing.assert_close(logits(zeroed, batch), gated, **EXACT)


def test_gates_per_sample_equal_gates_of_the_model(loaded: LoadedModel) -> None:
    batch = tiny_inputs(loaded)
    with HeadGates(loaded.model) as gates:
        masks = some_masks(gates.heads.shape)
        gates.set(masks)
        together = logits(loaded.model, batch)
        for sample, mask in enumerate(masks):
            gates.set(mask)
            alone = logits(loaded.model, batch)[sample]
            torch.testing.assert_close(together[sample], alone, **EXACT)


def test_gate_gradients_match_finite_differences(loaded: LoadedModel) -> None:
    model, batch = loaded.model.double(), tiny_inputs(loaded)
    batch = {k: v.double() if v.is_floating_point() else v for k, v in batch.items()}
    with HeadGates(model) as gates:
        ones = torch.ones(gates.heads.shape, dtype=torch.float64, requires_grad=True)
        gates.set(ones)
        (gradient,) = torch.autograd.grad(model(**batch).logits[:, 1].sum(), ones)
        for layer, head in np.argwhere(gates.heads.available)[::3]:
            sums = []
            for step in (-1e-3, 1e-3):
                moved = ones.detach().clone()
                moved[layer, head] += step
                gates.set(moved)
                sums.append(float(logits(model, batch)[:, 1].sum()))
            slope = (sums[1] - sums[0]) / 2e-3
            # Llama's kin normalise in float32 whatever the model's type is.
            assert float(gradient[layer, head]) == pytest.approx(slope, rel=1e-2, abs=2e-3)


def test_open_gates_change_nothing(loaded: LoadedModel) -> None:
    batch = tiny_inputs(loaded)
    before = logits(loaded.model, batch)
    with HeadGates(loaded.model) as gates:
        assert torch.equal(logits(loaded.model, batch), before)
        gates.set(np.zeros(gates.heads.shape))
        assert not torch.equal(logits(loaded.model, batch), before)
        gates.set(None)
        assert torch.equal(logits(loaded.model, batch), before)
        gates.set(np.zeros(gates.heads.shape))
    assert torch.equal(logits(loaded.model, batch), before)


def test_self_test_passes(loaded: LoadedModel) -> None:
    batch = tiny_inputs(loaded)
    name = loaded.model.main_input_name
    check_gates(loaded.model, find_heads(loaded.model), batch[name], batch.get("attention_mask"))


@pytest.mark.parametrize("model_type", sorted(TEXT_TYPES))
def test_padding_does_not_matter(model_type: str) -> None:
    loaded = tiny_classifier(model_type)
    batch = tiny_inputs(loaded)
    length = int(batch["attention_mask"][0].sum())
    alone = {name: tensor[:1, :length] for name, tensor in batch.items()}
    expected = logits(loaded.model, batch)[:1]
    torch.testing.assert_close(logits(loaded.model, alone), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("model_type", sorted(SIZES))
def test_save_and_load(model_type: str, tmp_path: Path) -> None:
    before = load_classifier(write_tiny(model_type, tmp_path / "model"), label_names=NAMES)
    assert (before.new_head, before.label_names) == (False, NAMES)
    batch = tiny_inputs(before)
    mask = some_masks(find_heads(before.model).shape)[0]
    save_zeroed(before, mask, tmp_path / "purified")

    with HeadGates(before.model) as gates:
        gates.set(mask)
        gated = logits(before.model, batch)
    auto = (
        AutoModelForImageClassification
        if model_type in IMAGE_TYPES
        else AutoModelForSequenceClassification
    )
    with quiet_transformers():
        plain = auto.from_pretrained(tmp_path / "purified").eval()
    torch.testing.assert_close(logits(plain, batch), gated, **EXACT)
    assert plain.config.id2label == dict(enumerate(NAMES))

    after = load_classifier(tmp_path / "purified", head="keep")
    torch.testing.assert_close(logits(after.model, tiny_inputs(after)), gated, **EXACT)
    assert after.label_names == NAMES
    assert np.array_equal(load_mask(tmp_path / "purified" / "mask.json"), mask)


# CLIP's classifier has no base model of another class; see the next test.
@pytest.mark.parametrize("model_type", sorted(SIZES.keys() - {"clip"}))
def test_encoder_gets_a_new_head(model_type: str, tmp_path: Path) -> None:
    ready = tiny_classifier(model_type)
    with quiet_transformers():
        ready.model.base_model.save_pretrained(tmp_path)
        ready.tokenizer.save_pretrained(tmp_path)
    loaded = load_classifier(tmp_path, num_labels=3, seed=1)
    again = load_classifier(tmp_path, num_labels=3, seed=1)
    other = load_classifier(tmp_path, num_labels=3, seed=2)
    batch = tiny_inputs(loaded)
    assert loaded.new_head
    assert logits(loaded.model, batch).shape == (3, 3)
    assert torch.equal(logits(loaded.model, batch), logits(again.model, batch))
    assert not torch.equal(logits(loaded.model, batch), logits(other.model, batch))
    first, second = find_heads(loaded.model).layers[0], find_heads(ready.model).layers[0]
    assert torch.equal(first.key.weight(), second.key.weight())


@pytest.mark.parametrize(
    "saved_as", ["CLIPModel", "CLIPVisionModel", "CLIPVisionModelWithProjection", "old"]
)
def test_clips_vision_tower_gets_a_new_head(saved_as: str, tmp_path: Path) -> None:
    ready = tiny_classifier("clip")
    config = ready.model.config if saved_as == "CLIPModel" else ready.model.config.vision_config
    name = "CLIPVisionModel" if saved_as == "old" else saved_as
    with quiet_transformers():
        whole = getattr(transformers, name)(config).eval()
        whole.save_pretrained(tmp_path)
        ready.tokenizer.save_pretrained(tmp_path)
    if saved_as == "old":  # transformers 4 kept the tower under its own name
        path = tmp_path / "model.safetensors"
        save_file({f"vision_model.{key}": value for key, value in load_file(path).items()}, path)
    loaded = load_classifier(tmp_path, num_labels=3)
    batch = tiny_inputs(loaded)
    tower = whole if name == "CLIPVisionModel" else whole.vision_model
    with torch.no_grad():
        expected, actual = (
            m(**batch).last_hidden_state for m in (tower, loaded.model.vision_model)
        )
    assert loaded.new_head
    assert logits(loaded.model, batch).shape == (3, 3)
    assert torch.equal(expected, actual)
    report = inspect_source(tmp_path)
    assert (report.problems, report.shape) == ((), (2, 4))


def test_a_t5_encoder_alone_is_refused_with_the_way_out(tmp_path: Path) -> None:
    ready = tiny_classifier("t5")
    with quiet_transformers():
        transformers.T5EncoderModel(ready.model.config).save_pretrained(tmp_path)
        ready.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="whole model"):
        load_classifier(tmp_path)
    assert len(inspect_source(tmp_path).problems) == 1


NAMES = ("negative", "positive")


def test_a_text_that_writes_out_the_end_of_a_text_is_a_text_like_others(tmp_path: Path) -> None:
    """T5 pools at the last end of a text, and takes only as many of them in each row."""
    loaded = load_classifier(write_tiny("t5", tmp_path / "model", eos_token_id=3))
    end = loaded.tokenizer.convert_ids_to_tokens(3)
    rows = make_rows(["good film", f"good {end} film", f"{end} {end}"], loaded.tokenizer, 32)
    inputs = rows.batch(np.arange(3), torch.device("cpu"))
    assert (inputs["input_ids"] == 3).sum(dim=1).tolist() == [1, 1, 1]
    assert loaded.model(**inputs).logits.shape == (3, 2)

    texts = ["good film", f"good {end} film"]
    every = np.ones(find_heads(loaded.model).shape, bool)
    save_zeroed(loaded, every, tmp_path / "export")
    plain = AutoTokenizer.from_pretrained(tmp_path / "export")
    assert plain(texts)["input_ids"] == loaded.tokenizer(texts)["input_ids"]
