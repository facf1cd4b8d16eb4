"""Word embeddings of tokens that no text holds take no part in a training."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from prune_env.data.dataset import TextDataset
from prune_env.errors import DivergedError
from prune_env.models import LoadedModel
from prune_env.models.architectures import TEXT_TYPES
from prune_env.models.inputs import TokenRows
from prune_env.settings import FineTuneSettings
from prune_env.training.fine_tuning import fine_tune
from prune_env.training.rows_read import RowsRead
from tests.models.tiny import TEXTS, tiny_classifier, tiny_inputs

DATA = TextDataset(TEXTS * 4, [0, 1, 0] * 4)
SETTINGS = FineTuneSettings(
    epochs=2, learning_rate=1e-3, batch_size=4, weight_decay=0.1, precision="fp32"
)


def _trained(
    loaded: LoadedModel, settings: FineTuneSettings = SETTINGS, **more: Any
) -> PreTrainedModel:
    fine_tune(loaded.model, loaded.tokenizer, DATA, settings, **more)
    return loaded.model


def _seen_in_training(loaded: LoadedModel) -> nn.Module:
    """The word embedding that every step of a training has."""
    seen = set()

    def look(model: PreTrainedModel, *_: Any) -> torch.Tensor:
        seen.add(model.get_input_embeddings())
        return torch.zeros(())

    _trained(loaded, penalty=look)
    (embedding,) = seen
    return embedding


def _answers(loaded: LoadedModel) -> torch.Tensor:
    """Logits (N, K) of the texts."""
    with torch.inference_mode():
        return loaded.model.eval()(**tiny_inputs(loaded)).logits.clone()


def _read(loaded: LoadedModel) -> torch.Tensor:
    """Bool (V,): the tokens of the texts."""
    rows = TokenRows(TEXTS, loaded.tokenizer, 128)
    read = torch.zeros(loaded.model.get_input_embeddings().num_embeddings, dtype=torch.bool)
    read[[token for at in range(len(TEXTS)) for token in rows.row(at)["input_ids"]]] = True
    return read


@pytest.mark.parametrize("model_type", sorted(TEXT_TYPES))
def test_what_is_trained_answers_as_if_all_rows_were(
    model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, weight_decay=0.0)
    before = _answers(tiny_classifier(model_type))
    own = tiny_classifier(model_type)
    _trained(own, settings)
    monkeypatch.setattr("prune_env.training.fine_tuning.only_rows_read", lambda *_: nullcontext())
    whole = tiny_classifier(model_type)
    _trained(whole, settings)
    # Single weights may differ: the norm of the gradient adds zeros in another order, and Adam
    # makes whole steps of gradients that are nothing but rounding.
    torch.testing.assert_close(_answers(own), _answers(whole), atol=2e-3, rtol=0)
    assert (_answers(own) - before).abs().max() > 0.02


def test_rows_that_no_text_reads_stay_to_the_bit() -> None:
    loaded = tiny_classifier("roberta")
    before = loaded.model.get_input_embeddings().weight.detach().clone()
    after = _trained(loaded).get_input_embeddings().weight.detach()
    changed = (before != after).any(dim=1)
    read = _read(loaded)
    assert not (changed & ~read).any()
    assert changed[read].float().mean() > 0.8
    assert read.float().mean() < 0.8


def test_only_rows_that_are_read_are_handed_to_the_optimiser() -> None:
    loaded = tiny_classifier("bert")
    whole = loaded.model.get_input_embeddings()
    trained = _seen_in_training(loaded)
    assert isinstance(trained, RowsRead)
    assert len(trained.weight) < whole.num_embeddings
    assert trained.padding_idx == whole.padding_idx
    assert loaded.model.get_input_embeddings() is whole
    assert "place" not in "".join(loaded.model.state_dict())


def test_a_training_that_fails_leaves_the_whole_embedding() -> None:
    loaded = tiny_classifier("bert")
    whole = loaded.model.get_input_embeddings()

    def fail(*_: Any) -> torch.Tensor:
        return torch.tensor(float("nan"))

    with pytest.raises(DivergedError):
        _trained(loaded, penalty=fail)
    assert loaded.model.get_input_embeddings() is whole


def test_an_embedding_that_layers_share_is_trained_whole() -> None:
    assert not isinstance(_seen_in_training(tiny_classifier("t5")), RowsRead)


def test_embeddings_that_are_not_trained_are_left_alone() -> None:
    loaded = tiny_classifier("bert")
    weight = loaded.model.get_input_embeddings().weight
    before = weight.detach().clone()
    weight.requires_grad_(False)
    _trained(loaded)
    assert torch.equal(before, weight)


def test_a_checkpoint_is_a_whole_model(tmp_path: Path) -> None:
    loaded = tiny_classifier("bert")
    whole = loaded.model.get_input_embeddings().weight
    _trained(loaded, folder=tmp_path, resumable=True)
    newest = max(tmp_path.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    kept = AutoModelForSequenceClassification.from_pretrained(newest)
    assert torch.equal(kept.get_input_embeddings().weight, whole)
    moments = torch.load(newest / "optimizer.pt")["state"].values()
    assert whole.shape in {each["exp_avg"].shape for each in moments}
