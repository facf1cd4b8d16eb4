from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prune_env.data.dataset import TextDataset
from prune_env.models import LoadedModel, load_classifier
from prune_env.settings import FineTuneSettings
from prune_env.training import batches
from prune_env.training.batches import parts_of_batch
from prune_env.training.fine_tuning import fine_tune

FAST = FineTuneSettings(epochs=1, learning_rate=1e-3, batch_size=8, precision="fp32")


@pytest.mark.parametrize(
    ("share", "batch_size", "expected"),
    [
        (1.0, 8, 1),
        (0.99, 8, 2),
        (0.5, 8, 2),
        (0.49, 8, 4),
        (0.01, 8, 8),
        (0.01, 12, 4),
        (0.4, 7, 1),
    ],
)
def test_parts_are_as_few_as_memory_allows(
    tiny_model: LoadedModel,
    share: float,
    batch_size: int,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_model.model.config
    monkeypatch.setattr(config, "attention_probs_dropout_prob", 0.0)
    needed = batch_size * 10 * config.num_hidden_layers * config.hidden_size * batches.BYTES
    monkeypatch.setattr(batches, "MOST", share * needed)
    assert parts_of_batch(tiny_model.model, batch_size, 10) == expected


def test_scores_of_long_texts_count_where_attention_is_dropped_out(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 512 tokens the scores of a MiniLM are three quarters of what a batch leaves."""
    config = tiny_model.model.config
    pairs = 8 * 512 * 512 * config.num_hidden_layers * config.num_attention_heads
    states = 8 * 512 * config.num_hidden_layers * config.hidden_size * batches.BYTES
    monkeypatch.setattr(batches, "MOST", states + pairs * batches.SCORE_BYTES / 2)
    assert parts_of_batch(tiny_model.model, 8, 512) == 2
    assert parts_of_batch(tiny_model.model, 8, 256) == 1
    monkeypatch.setattr(config, "attention_probs_dropout_prob", 0.0)
    assert parts_of_batch(tiny_model.model, 8, 512) == 1


def test_batches_in_parts_train_the_same_weights(
    tiny_folder: Path, tiny_data: TextDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, steps = [], []
    before = torch.cat([each.flatten() for each in load_classifier(tiny_folder).model.parameters()])
    for most in (batches.MOST, 0):
        monkeypatch.setattr(batches, "MOST", most)
        loaded = load_classifier(tiny_folder)
        for module in loaded.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        settings = replace(FAST, learning_rate=1e-4)
        result = fine_tune(loaded.model, loaded.tokenizer, tiny_data, settings)
        steps.append(result.steps)
        weights.append(torch.cat([each.flatten() for each in loaded.model.parameters()]))
    assert steps[0] == steps[1] == len(tiny_data) // 8
    moved = (weights[0] - before).norm()
    assert moved > 0
    assert (weights[1] - weights[0]).norm() < 0.05 * moved
