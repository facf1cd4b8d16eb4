"""Neurons through which a trigger acts go first, and only while the accuracy holds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prune_env.data.dataset import TextDataset
from prune_env.evaluation import ReferenceEvaluator
from prune_env.evaluation.suspect import Suspect
from prune_env.inversion.frames import Frame
from prune_env.models import LoadedModel, forward
from prune_env.models.neurons import find_neurons
from prune_env.purification import neuron_pruning
from prune_env.purification.neuron_pruning import attribution, margins_of, prune_neurons, recentre
from tests.models.tiny import SIZES, tiny_classifier
from tests.support import tiny_dataset

TRAIN, VALIDATION = tiny_dataset(200, 0), tiny_dataset(60, 1)
TEXT_TYPES = sorted(set(SIZES) - {"clip", "vit"})


def texts_of(loaded: LoadedModel, validation: TextDataset = VALIDATION) -> Suspect:
    judge = ReferenceEvaluator(loaded.model, loaded.tokenizer, validation)
    return Suspect(loaded, TRAIN, validation, judge)


def answered(loaded: LoadedModel) -> TextDataset:
    """Return the validation texts with the model's own answers as labels."""
    margins, _ = margins_of(texts_of(loaded))
    return replace(VALIDATION, labels=(margins > np.median(margins)).astype(np.int64))


@pytest.mark.parametrize("model_type", TEXT_TYPES)
def test_attribution_is_what_closing_a_neuron_a_little_does(
    model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "use_bf16", lambda *_: False)
    loaded = tiny_classifier(model_type)
    layers = find_neurons(loaded.model)
    texts = TRAIN.texts[:3]
    found = attribution(loaded, layers, texts, 128)
    assert found.shape == (sum(layer.count for layer in layers),)

    def margin() -> float:
        total = 0.0
        for text in texts:
            ids = loaded.tokenizer(text, return_tensors="pt")
            batch = {name: ids[name] for name in ("input_ids", "attention_mask")}
            with torch.no_grad():
                logits = loaded.model.double()(**batch).logits[0]
            total += float(logits[1] - logits[0])
        return total / len(texts)

    before = margin()
    largest = int(np.abs(found[: layers[0].count]).argmax())
    with torch.no_grad():
        layers[0].weight()[:, largest] *= 1 - 1e-4
    assert (before - margin()) / 1e-4 == pytest.approx(found[largest], rel=0.02)


@pytest.fixture
def insistent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prune on, whatever triggers say by then."""
    monkeypatch.setattr(neuron_pruning, "OVERSHOOT", 1e9)


def speaks_for(loaded: LoadedModel, frame: Frame) -> int:
    """Return the class that a trigger moves answers to."""
    texts = texts_of(loaded)
    framed = replace(VALIDATION, texts=tuple(map(frame, VALIDATION.texts)))
    return int(margins_of(texts_of(loaded, framed))[0].mean() > margins_of(texts)[0].mean())


def test_triggers_that_speak_against_their_class_are_left_alone() -> None:
    loaded = tiny_classifier("bert")
    texts = texts_of(loaded, answered(loaded))
    frame = Frame(before="and and and and")
    target = speaks_for(loaded, frame)
    assert prune_neurons(texts, [frame], 1 - target, most=1, max_drop=1.0) == 0
    assert prune_neurons(texts, [frame], target, most=1, max_drop=1.0) > 0


@pytest.mark.usefixtures("insistent")
def test_neurons_with_the_most_blame_go_and_the_accuracy_holds() -> None:
    loaded = tiny_classifier("bert")
    texts = texts_of(loaded, answered(loaded))
    frames = [Frame(before="and")]
    layers = find_neurons(loaded.model)
    pruned = prune_neurons(texts, frames, 1, most=3, step=4 / 128, max_drop=1.0)
    assert pruned == 12
    gone = [int((layer.weight() == 0).all(dim=0).sum()) for layer in layers]
    assert sum(gone) == 12


@pytest.mark.usefixtures("insistent")
def test_a_step_that_loses_too_much_is_taken_back() -> None:
    loaded = tiny_classifier("bert")
    texts = texts_of(loaded, answered(loaded))
    weights = [layer.weight().clone() for layer in find_neurons(loaded.model)]
    assert prune_neurons(texts, [Frame(before="and")], 1, step=1.0, max_drop=0.0) == 0
    for layer, weight in zip(find_neurons(loaded.model), weights, strict=True):
        assert torch.equal(layer.weight(), weight)


def test_nothing_goes_without_a_trigger() -> None:
    assert prune_neurons(texts_of(tiny_classifier("bert")), [], 1) == 0


def test_a_model_without_a_known_feed_forward_network_keeps_its_neurons() -> None:
    loaded = tiny_classifier("bert")
    width = loaded.model.config.hidden_size
    for layer in loaded.model.bert.encoder.layer:  # as wide inside as outside: ambiguous
        layer.intermediate.dense = torch.nn.Linear(width, width)
        layer.output.dense = torch.nn.Linear(width, width)
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    assert prune_neurons(texts_of(loaded), [Frame(before="and")], 1) == 0
    after = loaded.model.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in after.items())


def test_the_bias_is_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "use_bf16", lambda *_: False)
    loaded = tiny_classifier("bert")
    with torch.no_grad():
        loaded.model.classifier.bias += torch.tensor([0.0, 50.0])
    texts = texts_of(loaded)
    margins, threshold = margins_of(texts)
    assert (margins > 0).all()
    assert recentre(texts) == pytest.approx(threshold)
    margins, threshold = margins_of(texts)
    assert threshold == pytest.approx(0, abs=1e-4)
    assert (margins > 0).sum() == VALIDATION.labels.sum()


def test_a_classifier_without_a_bias_is_left_as_it_is() -> None:
    loaded = tiny_classifier("gpt2")
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    assert recentre(texts_of(loaded)) == 0
    assert all(
        torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items()
    )
