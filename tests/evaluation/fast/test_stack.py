import pytest
import torch

from prune_env.evaluation.fast.stack import entering, find_layers, leaving, replaced
from prune_env.models import LoadedModel, find_heads
from tests.models.tiny import SIZES, tiny_classifier, tiny_inputs


@pytest.mark.parametrize("model_type", sorted(SIZES))
def test_layers_hold_the_attention_of_their_row(model_type: str) -> None:
    loaded = tiny_classifier(model_type)
    heads = find_heads(loaded.model)
    layers = find_layers(loaded.model, heads)
    if model_type == "albert":
        assert layers is None
        return
    assert layers is not None
    for layer, row in zip(layers, heads.layers, strict=True):
        assert row.attention in list(layer.modules())


def test_entering_and_leaving_meet_in_the_middle(tiny_model: LoadedModel) -> None:
    model = tiny_model.model
    layers = find_layers(model, find_heads(model))
    assert layers is not None
    batch = tiny_inputs(tiny_model)
    with torch.no_grad():
        hidden = entering(model, layers, batch)
        assert torch.equal(hidden, model.bert.embeddings(batch["input_ids"]))
        output = model.bert(**batch).last_hidden_state
        assert torch.equal(leaving(model, layers, batch, output), model(**batch).logits)


def test_replaced_layers_come_back(tiny_model: LoadedModel) -> None:
    layers = find_layers(tiny_model.model, find_heads(tiny_model.model))
    assert layers is not None
    batch = tiny_inputs(tiny_model)
    with torch.no_grad():
        before = tiny_model.model(**batch).logits

        def fail(*args: object, **kwargs: object) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError), replaced(layers[1:], [fail]):
            tiny_model.model(**batch)
        assert torch.equal(tiny_model.model(**batch).logits, before)
