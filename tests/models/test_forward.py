"""One pass over samples: every row in its place, whatever the batches, and the model left alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from prune_env.data import read_images
from prune_env.data.dataset import TextDataset
from prune_env.models import LoadedModel, forward
from prune_env.models.forward import batches, classify, cls_vectors, in_precision, under_masks
from prune_env.models.inputs import make_rows, real_tokens
from tests.models.tiny import tiny_classifier, write_tiny_images


def one_by_one(
    loaded: LoadedModel, texts: tuple[str, ...], read: Callable[..., torch.Tensor]
) -> np.ndarray:
    with torch.no_grad():
        return np.stack([read(**loaded.tokenizer(t, return_tensors="pt"))[0] for t in texts])


def test_every_sample_comes_once_with_others_of_its_length(
    tiny_model: LoadedModel, tiny_data: TextDataset
) -> None:
    samples = make_rows(tiny_data.texts, tiny_model.tokenizer, 128)
    found = list(batches(samples, torch.device("cpu"), size=7))
    rows = np.concatenate([batch.rows for batch in found])
    assert sorted(rows) == list(range(len(tiny_data)))
    assert (np.diff(samples.lengths[rows]) >= 0).all()
    assert {len(batch.rows) for batch in found[:-1]} == {7}
    for batch in found:
        real = real_tokens(batch.inputs, batch.inputs["input_ids"].shape[1])
        assert real.sum(1).tolist() == samples.lengths[batch.rows].tolist()


def test_batches_of_long_texts_are_small_on_a_processor(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [" ".join(["film"] * words) for words in (3, 9, 4, 10, 30, 5, 8)]
    samples = make_rows(texts, tiny_model.tokenizer, 32)
    monkeypatch.setattr(forward, "TOKENS", 24)
    found = [batch.rows.tolist() for batch in batches(samples, torch.device("cpu"), size=2)]
    assert samples.lengths.tolist() == [5, 11, 6, 12, 32, 7, 10]
    assert found == [[0, 2], [5, 6], [1, 3], [4]]
    monkeypatch.setattr(forward, "TOKENS", 20)
    found = [batch.rows.tolist() for batch in batches(samples, torch.device("cpu"), size=2)]
    assert found == [[0, 2], [5, 6], [1], [3], [4]]  # the longest does not fit, and comes alone
    on_gpu = forward.parts(samples, 2, torch.device("cuda"))
    assert [rows.tolist() for _, rows in on_gpu] == [[0, 2], [5, 6], [1, 3], [4]]


@pytest.mark.parametrize("size", [1, 5, 64])
def test_logits_stand_in_the_order_of_the_texts(
    tiny_model: LoadedModel, tiny_data: TextDataset, size: int
) -> None:
    model, texts = tiny_model.model, tiny_data.texts
    found = classify(model, tiny_model.tokenizer, texts, batch_size=size)
    alone = one_by_one(tiny_model, texts, lambda **inputs: model(**inputs).logits)
    np.testing.assert_allclose(found, alone, atol=1e-5)
    assert found.dtype == np.float32


def test_vectors_are_those_of_the_first_token(
    tiny_model: LoadedModel, tiny_data: TextDataset
) -> None:
    encoder, texts = tiny_model.model.base_model, tiny_data.texts
    alone = one_by_one(tiny_model, texts, lambda **inputs: encoder(**inputs)[0][:, 0])
    found = cls_vectors(tiny_model.model, tiny_model.tokenizer, texts)
    np.testing.assert_allclose(found, alone, atol=1e-5)


@pytest.mark.parametrize("model_type", ["clip", "gpt2", "t5", "vit"])
def test_vectors_tell_inputs_apart_whatever_the_family(model_type: str, tmp_path: Path) -> None:
    loaded = tiny_classifier(model_type)
    samples: Sequence[str] = ("the film is great", "the film is bad", "the plot is thin and long")
    if model_type in ("clip", "vit"):
        samples = read_images(write_tiny_images(tmp_path / "images")).texts[:3]
    vectors = cls_vectors(loaded.model, loaded.tokenizer, samples)
    assert len(np.unique(vectors.round(5), axis=0)) == len(samples)
    alone = [cls_vectors(loaded.model, loaded.tokenizer, [each])[0] for each in samples]
    np.testing.assert_allclose(vectors, alone, atol=1e-5)


def test_modes_are_given_back(tiny_model: LoadedModel, tiny_data: TextDataset) -> None:
    model = tiny_model.model
    still = classify(model, tiny_model.tokenizer, tiny_data.texts)
    model.train()
    model.bert.encoder.layer[0].eval()
    before = [module.training for module in model.modules()]
    again = classify(model, tiny_model.tokenizer, tiny_data.texts)
    np.testing.assert_array_equal(again, still)  # no dropout
    assert [module.training for module in model.modules()] == before


def test_a_precision_is_left_as_it_is_unless_another_is_fast(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inside(precision: str) -> bool:
        with in_precision(tiny_model.model, precision):  # type: ignore[arg-type]
            return torch.is_autocast_enabled("cpu")

    assert [inside(each) for each in ("fp32", "bf16")] == [False, True]
    for fast in (False, True):
        monkeypatch.setattr(forward, "use_bf16", lambda *_, fast=fast: fast)
        assert inside("auto") == fast
    with torch.autocast("cpu", torch.bfloat16):
        assert inside("fp32")


def test_each_mask_is_read_in_turn(tiny_model: LoadedModel, tiny_data: TextDataset) -> None:
    model, tokenizer, texts = tiny_model.model, tiny_model.tokenizer, tiny_data.texts
    masks = np.ones((3, 2, 4), bool)
    masks[1, 0, 2] = masks[2] = False
    found = under_masks(model, masks, lambda: classify(model, tokenizer, texts))
    assert found.shape == (3, len(texts), 2)
    assert not np.allclose(found[0], found[1])
    assert not np.allclose(found[1], found[2])
    assert not any(module._forward_pre_hooks for module in model.modules())
