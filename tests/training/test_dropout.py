"""Dropout of another strength for one training."""

from contextlib import suppress

import torch
from torch import nn

from prune_env.training.dropout import dropped_out
from tests.models.tiny import tiny_classifier, tiny_inputs


def probabilities(model: nn.Module) -> list[float]:
    """Return that of each dropout layer."""
    return [each.p for each in model.modules() if isinstance(each, nn.Dropout)]


def test_dropout_is_another_for_a_while_even_if_the_training_fails() -> None:
    model = tiny_classifier("distilbert").model
    before = probabilities(model)
    assert len(set(before)) > 1
    with dropped_out(model, 0.3):
        assert probabilities(model) == [0.3] * len(before)
    assert probabilities(model) == before
    with suppress(KeyError), dropped_out(model, 0.3):
        raise KeyError
    assert probabilities(model) == before


def test_what_drops_nothing_out_still_does_not() -> None:
    model = nn.Sequential(nn.Dropout(0.0), nn.Dropout(0.1))
    with dropped_out(model, 0.3):
        assert probabilities(model) == [0.0, 0.3]


def test_attention_is_dropped_out_as_well() -> None:
    loaded = tiny_classifier("bert")
    inputs = tiny_inputs(loaded)
    for each in loaded.model.modules():
        if isinstance(each, nn.Dropout):
            each.p = 0.0
    attention = loaded.model.bert.encoder.layer[0].attention.self.dropout
    attention.p = 0.1
    loaded.model.train()
    with torch.no_grad(), dropped_out(loaded.model, 0.9):
        assert not torch.equal(loaded.model(**inputs).logits, loaded.model(**inputs).logits)
