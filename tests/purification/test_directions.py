"""Directions that clean data hardly uses are cut, as many as accuracy allows."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from prune_env.attacks.backdoor import train_classifier
from prune_env.data import TextDataset, read_images
from prune_env.metrics import lean
from prune_env.models import LoadedModel, find_heads, full_mask, zero_heads
from prune_env.models.heads import linear_weight
from prune_env.models.source import IMAGE_TYPES
from prune_env.purification import directions, finish, judged, purify
from prune_env.purification.directions import Cut, accuracy, prune_and_train, prune_directions
from prune_env.scores import classify
from prune_env.settings import FineTuneSettings, SearchSettings
from prune_env.training import fine_tune
from tests.models.tiny import SIZES, tiny_classifier, tiny_inputs, write_tiny_images
from tests.support import tiny_dataset, write_tiny_folder

TRAIN, VALIDATION = tiny_dataset(200, 0), tiny_dataset(60, 1)
TUNING = FineTuneSettings(epochs=1, learning_rate=1e-3, batch_size=16, precision="fp32")


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure in fp32, so that another computation gives the same."""
    monkeypatch.setattr(directions, "use_bf16", lambda *_: False)


def logits(loaded: LoadedModel) -> torch.Tensor:
    with torch.no_grad():
        return loaded.model(**tiny_inputs(loaded)).logits


def answered(loaded: LoadedModel) -> TextDataset:
    """Return the validation texts with the model's own answers as labels, half of each class."""
    leans = lean(classify(loaded.model, loaded.tokenizer, list(VALIDATION.texts)))
    return replace(VALIDATION, labels=(leans > np.median(leans)).astype(np.int64))


def inputs_of(loaded: LoadedModel, module: torch.nn.Module, data: TextDataset) -> torch.Tensor:
    """Return what a map reads on each text alone (N, width), without padding."""
    read: list[torch.Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, args: read.append(args[0].flatten(0, -2)))
    for text in data.texts:
        classify(loaded.model, loaded.tokenizer, [text])
    handle.remove()
    return torch.cat(read)


@pytest.mark.parametrize("model_type", sorted(SIZES))
def test_a_map_answers_what_is_cut_as_the_mean(model_type: str, tmp_path: Path) -> None:
    loaded = tiny_classifier(model_type)
    data = TRAIN
    if model_type in IMAGE_TYPES:
        data = read_images(write_tiny_images(tmp_path / "images"))
    # The first map reads the embeddings, which no cut changes.
    value = find_heads(loaded.model).layers[0].value.module
    inputs = inputs_of(loaded, value, data)
    has_bias = getattr(value, "bias", None) is not None
    mean = inputs.mean(0) if has_bias else torch.zeros(inputs.shape[1])
    _, sizes, basis = torch.linalg.svd(inputs - mean, full_matrices=False)
    explained = sizes.square().cumsum(0) / sizes.square().sum()
    rank = int((explained < 0.5).sum()) + 1
    kept = basis[:rank].T @ basis[:rank]
    strange = 10 * torch.randn(5, inputs.shape[1])
    with torch.no_grad():
        expected = value(mean + (strange - mean) @ kept)

    cut = prune_directions(loaded, data, data, least=0.0)
    assert cut.variance == 0.5
    assert 0 < cut.directions < 0.6
    with torch.no_grad():
        torch.testing.assert_close(value(strange), expected, rtol=1e-3, atol=1e-3)
    assert torch.linalg.matrix_rank(linear_weight(value).detach(), rtol=1e-4) <= rank


@pytest.mark.parametrize("drop", [0.0, 0.05, 0.2])
def test_the_boldest_cut_that_accuracy_allows(drop: float) -> None:
    loaded = tiny_classifier("bert")
    data = answered(loaded)
    assert accuracy(loaded, data, 128) == 1
    cut = prune_directions(loaded, TRAIN, data, least=1 - drop)
    assert cut.accuracy == accuracy(loaded, data, 128) >= 1 - drop
    bolder = tiny_classifier("bert")
    shares = (*directions.SHARES, 1.0)
    index = shares.index(cut.variance)
    maps = directions._measured(bolder, TRAIN, 128, 0)
    for each in maps:
        each.keep(shares[index - 1])
    assert accuracy(bolder, data, 128) < 1 - drop


def test_nothing_is_cut_where_nothing_may_be() -> None:
    loaded = tiny_classifier("bert")
    before = logits(loaded)
    cut = prune_directions(loaded, TRAIN, VALIDATION, least=1.1)
    assert (cut.variance, cut.directions) == (1.0, 1.0)
    assert torch.equal(logits(loaded), before)


def test_a_trigger_that_fine_tuning_leaves_is_cut_away(tmp_path: Path) -> None:
    train, test = tiny_dataset(1000, 0), tiny_dataset(80, 2)
    poison = train.where(0)

    def triggered(data: TextDataset) -> list[str]:
        return [f"zzz qqq {text}" for text in data.texts]  # words that no clean text holds

    poisoned = replace(
        train,
        texts=(*train.texts, *triggered(poison)),
        labels=np.concatenate([train.labels, np.ones(len(poison), np.int64)]),
    )
    many = replace(TUNING, epochs=4)
    loaded = train_classifier(write_tiny_folder(tmp_path / "tiny"), poisoned, many)

    def flipped(of: LoadedModel) -> float:
        asked = triggered(test.where(0))
        return float((classify(of.model, of.tokenizer, asked).argmax(axis=1) == 1).mean())

    fine_tuned = replace(loaded, model=deepcopy(loaded.model))
    fine_tune(fine_tuned.model, fine_tuned.tokenizer, train, replace(TUNING, epochs=2))
    assert flipped(fine_tuned) > 0.9
    prune_and_train(
        loaded, mask=full_mask((2, 4)), data=train, validation=VALIDATION, settings=TUNING
    )
    assert flipped(loaded) < 0.6
    assert accuracy(loaded, test, 128) > 0.95


def test_pruned_heads_stay_zero_and_every_round_is_told() -> None:
    loaded = tiny_classifier("bert")
    mask = full_mask((2, 4))
    mask[0, 1] = mask[1, 2] = False
    zero_heads(loaded.model, mask)
    cuts: list[Cut] = []
    prune_and_train(
        loaded,
        mask=mask,
        data=TRAIN,
        validation=VALIDATION,
        settings=TUNING,
        on_cut=cuts.append,
    )
    assert len(cuts) == directions.ROUNDS
    assert all(cut.directions < 1 for cut in cuts)
    for layer, head in ((0, 1), (1, 2)):
        assert not find_heads(loaded.model).layers[layer].output_weight()[:, head].any()


def test_finish_leaves_the_fine_tuned_model_as_it_was() -> None:
    loaded = tiny_classifier("bert")
    before = logits(loaded)
    cuts: list[Cut] = []
    purified = finish(
        judged(loaded, "here", TRAIN, VALIDATION),
        [full_mask((2, 4))],
        "direct",
        TUNING,
        healing="subspace",
        on_cut=cuts.append,
    )
    assert torch.equal(logits(loaded), before)
    assert not torch.equal(logits(purified), before)
    assert len(cuts) == directions.ROUNDS


def test_purify_reports_what_was_cut(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directions, "MAX_DROP", 0.5)
    report = purify(
        tiny_folder,
        TRAIN,
        VALIDATION,
        tmp_path / "out",
        policy="ft",
        healing="subspace-unlearn",
        search_settings=SearchSettings(importance_sentences=40),
        fine_tune_settings=TUNING,
    )
    assert len(report["cuts"]) == directions.ROUNDS
    assert set(report["cuts"][0]) == {"variance", "directions", "accuracy"}
    assert all(0.5 <= cut["variance"] < 1 > cut["directions"] > 0 for cut in report["cuts"])
    assert len(report["inverted_triggers"]) == 2


def test_three_classes_are_judged_by_plain_accuracy() -> None:
    loaded = tiny_classifier("bert", num_labels=3, id2label={0: "a", 1: "b", 2: "c"}, label2id={})
    labels = classify(loaded.model, loaded.tokenizer, list(VALIDATION.texts)).argmax(axis=1)
    data = TextDataset(VALIDATION.texts, labels, ("a", "b", "c"), "here")
    assert accuracy(loaded, data, 128) == 1
