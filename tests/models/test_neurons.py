"""Feed-forward neurons are found by structure, in every architecture."""

import pytest
import torch

from prune_env.errors import UnsupportedModelError
from prune_env.models import find_heads
from prune_env.models.neurons import find_neurons
from tests.models.tiny import SIZES, tiny_classifier, tiny_inputs


@pytest.mark.parametrize("model_type", sorted(SIZES))
def test_a_neuron_is_an_input_of_the_map_back_into_the_hidden_state(model_type: str) -> None:
    loaded = tiny_classifier(model_type)
    layers = find_neurons(loaded.model)
    assert [layer.index for layer in layers] == list(range(find_heads(loaded.model).shape[0]))
    inputs = tiny_inputs(loaded)
    for layer in layers:
        seen: list[torch.Tensor] = []
        handle = layer.module.register_forward_pre_hook(
            lambda _, args, seen=seen: seen.append(args[0])
        )
        with torch.no_grad():
            before = loaded.model(**inputs).logits
            handle.remove()
            assert (
                seen[0].shape[-1]
                == layer.count
                == 4 * layer.weight().shape[0] // (1 if model_type == "gpt2" else 2)
            )
            loudest = int(seen[0].abs().flatten(0, -2).amax(0).argmax())
            layer.weight()[:, loudest] = 0  # a view: the model changes
            assert not torch.equal(loaded.model(**inputs).logits, before)


def test_a_layer_without_a_feed_forward_network_is_refused() -> None:
    model = tiny_classifier("bert").model
    model.bert.encoder.layer[1].output.dense = torch.nn.Identity()
    with pytest.raises(UnsupportedModelError, match=r"layer\.1' is not found"):
        find_neurons(model)
