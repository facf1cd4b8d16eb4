import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, OPTConfig, OPTModel

from prune_env.errors import UnsupportedModelError
from prune_env.models import find_heads
from tests.models.tiny import tiny_classifier
from tests.support import tiny_bert


def test_layers_come_in_forward_order() -> None:
    heads = find_heads(tiny_bert(layers=12, heads=2, hidden=4))
    assert heads.shape == (12, 2)
    names = [layer.name for layer in heads.layers]
    assert names == [f"bert.encoder.layer.{i}.attention.self" for i in range(12)]
    assert [layer.index for layer in heads.layers] == list(range(12))
    assert {layer.calls for layer in heads.layers} == {1}


def test_one_layer_with_one_head() -> None:
    heads = find_heads(tiny_bert(layers=1, heads=1, hidden=4))
    assert heads.shape == (1, 1)
    assert heads.available.tolist() == [[True]]


def test_shared_layers_are_said() -> None:
    heads = find_heads(tiny_classifier("albert").model)
    assert (heads.shape, heads.layers[0].calls) == ((1, 4), 2)


def test_grouped_queries_are_said() -> None:
    layer = find_heads(tiny_classifier("llama").model).layers[0]
    assert (layer.num_heads, layer.kv_heads) == (4, 2)
    assert [layer.kv_head(head) for head in range(4)] == [0, 0, 1, 1]


@pytest.mark.parametrize("model_type", ["gpt2", "modernbert", "bert"])
def test_parts_are_views_of_the_weights(model_type: str) -> None:
    """Fused maps give three disjoint parts; changing a view changes the model."""
    model = tiny_classifier(model_type).model
    layer = find_heads(model).layers[1]
    with torch.no_grad():
        for number, part in enumerate((layer.query, layer.key, layer.value), start=1):
            part.weight().fill_(number)
    again = find_heads(model).layers[1]
    for number, part in enumerate((again.query, again.key, again.value), start=1):
        assert (part.weight() == number).all()
    with torch.no_grad():
        layer.output_weight()[:, 2] = 7
    assert (again.output_weight() == 7).sum() == 32 * 8


def test_gradients_have_the_shape_of_the_weights() -> None:
    model = tiny_classifier("gpt2").model
    layer = find_heads(model).layers[0]
    assert layer.key.grad() is None
    words = torch.tensor([[2, 9, 10, 3]])
    model(input_ids=words).logits[:, 0].sum().backward()
    weight, gradient, fused = layer.key.weight(), layer.key.grad(), layer.key.module.weight
    assert gradient is not None
    assert gradient.shape == weight.shape == (32, 32)
    assert torch.equal(gradient, fused.grad[:, 32:64].T)
    bias = layer.key.bias()
    assert bias is not None
    assert bias.shape == (32,)


def test_a_model_without_attention_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="cannot be found"):
        find_heads(nn.Linear(2, 2))


def test_cross_attention_is_refused() -> None:
    config = BertConfig(
        hidden_size=8,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=8,
        is_decoder=True,
        add_cross_attention=True,
    )
    with pytest.raises(UnsupportedModelError, match="cannot be found"):
        find_heads(BertModel(config))


def test_contradicting_shapes_are_refused() -> None:
    model = tiny_bert()
    model.bert.encoder.layer[0].attention.self.key = nn.Linear(32, 24)
    with pytest.raises(UnsupportedModelError, match=r"layer\.0\.attention\.self"):
        find_heads(model)
    model = tiny_bert()
    model.bert.encoder.layer[1].attention.self.num_attention_heads = 3
    with pytest.raises(UnsupportedModelError, match=r"layer\.1\.attention\.self"):
        find_heads(model)


def test_a_quantized_projection_is_refused() -> None:
    model = tiny_bert()
    model.bert.encoder.layer[0].attention.self.query = nn.Identity()
    with pytest.raises(UnsupportedModelError, match="Identity"):
        find_heads(model)


def test_an_unlisted_architecture_is_found_by_structure() -> None:
    """No name of a model type is consulted."""
    config = OPTConfig(
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=8,
        vocab_size=9,
        word_embed_proj_dim=8,
    )
    assert find_heads(OPTModel(config)).shape == (2, 2)
