from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from prune_env.data.dataset import TextDataset
from prune_env.models import find_heads, load_classifier
from prune_env.settings import FineTuneSettings
from prune_env.training.averaging import WeightAverage
from prune_env.training.fine_tuning import fine_tune

FAST = FineTuneSettings(epochs=1, learning_rate=1e-3, batch_size=8, precision="fp32")


def test_the_last_weights_are_averaged_and_no_others(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    average = WeightAverage(0.5)
    arguments, control = TrainingArguments(output_dir=str(tmp_path)), TrainerControl()
    for step, value in enumerate((100.0, 200.0, 1.0, 4.0), start=1):
        nn.init.constant_(model.weight, value)
        state = TrainerState(global_step=step, max_steps=4)
        average.on_step_end(arguments, state, control, model=model)
    average.on_train_end(arguments, state, control, model=model)
    assert model.weight.item() == pytest.approx(2.5)


def test_pruned_heads_stay_closed_while_the_rest_is_averaged(
    tiny_folder: Path, tiny_data: TextDataset
) -> None:
    found = []
    for average in (0.0, 0.5):
        loaded = load_classifier(tiny_folder)
        heads = find_heads(loaded.model)
        mask = np.ones(heads.shape, bool)
        mask[0, 1] = False
        before = heads.layers[0].output_weight().detach().clone()
        settings = replace(FAST, weight_decay=0.0)
        fine_tune(loaded.model, loaded.tokenizer, tiny_data, settings, mask=mask, average=average)
        width = heads.layers[0].head_dim
        changed = (heads.layers[0].output_weight() != before).any(dim=0)
        assert changed[:width].any()
        assert not changed[width : 2 * width].any()
        assert not loaded.model.training
        found.append(heads.layers[0].output_weight().detach())
    assert not torch.equal(*found)
