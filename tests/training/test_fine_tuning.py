import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from prune_env.data.dataset import TextDataset
from prune_env.errors import DivergedError, SettingsError
from prune_env.evaluation.scores import TestSets, score
from prune_env.models import HeadGates, LoadedModel, find_heads, load_classifier
from prune_env.models.forward import classify
from prune_env.settings import FineTuneSettings
from prune_env.training.fine_tuning import fine_tune
from tests.models.tiny import tiny_classifier

FAST = FineTuneSettings(epochs=8, learning_rate=1e-3, batch_size=8, precision="fp32")


def test_it_learns(tiny_model: LoadedModel, tiny_data: TextDataset) -> None:
    before = score(tiny_model, TestSets(tiny_data)).acc.percent
    settings = replace(FAST, epochs=25)
    result = fine_tune(tiny_model.model, tiny_model.tokenizer, tiny_data, settings)
    assert before < 75 < 95 < score(tiny_model, TestSets(tiny_data)).acc.percent
    assert result.steps == 25 * 8
    assert not tiny_model.model.training


def test_the_same_seed_gives_the_same_weights(tiny_folder: Path, tiny_data: TextDataset) -> None:
    runs = []
    for seed in (3, 3, 4):
        loaded = load_classifier(tiny_folder)
        fine_tune(loaded.model, loaded.tokenizer, tiny_data, replace(FAST, epochs=1), seed=seed)
        runs.append(torch.cat([p.detach().flatten() for p in loaded.model.parameters()]))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_pruned_heads_stay_closed_and_untouched(
    tiny_model: LoadedModel, tiny_data: TextDataset
) -> None:
    heads = find_heads(tiny_model.model)
    mask = np.ones(heads.shape, bool)
    mask[0, 1] = False
    before = heads.layers[0].output_weight().detach().clone()
    # Weight decay alone would move the columns of a closed head.
    settings = replace(FAST, epochs=1, weight_decay=0.0)
    fine_tune(tiny_model.model, tiny_model.tokenizer, tiny_data, settings, mask=mask)
    changed = (heads.layers[0].output_weight() != before).any(dim=0)
    width = heads.layers[0].head_dim
    assert not changed[width : 2 * width].any()
    assert changed[:width].any()


def test_the_gates_are_gone_afterwards(tiny_model: LoadedModel, tiny_data: TextDataset) -> None:
    mask = np.ones(find_heads(tiny_model.model).shape, bool)
    mask[1, 0] = False
    settings = replace(FAST, epochs=1)
    fine_tune(tiny_model.model, tiny_model.tokenizer, tiny_data, settings, mask=mask)
    batch = tiny_model.tokenizer(["the film is great"], return_tensors="pt")
    with torch.no_grad():
        left = tiny_model.model(**batch).logits
        with HeadGates(tiny_model.model) as gates:
            gates.set(None)
            assert torch.equal(tiny_model.model(**batch).logits, left)
            gates.set(mask)
            assert not torch.equal(tiny_model.model(**batch).logits, left)


def test_a_penalty_is_added_to_the_loss(tiny_folder: Path, tiny_data: TextDataset) -> None:
    norms = []
    for strength in (0.0, 100.0):
        loaded = load_classifier(tiny_folder)
        fine_tune(
            loaded.model,
            loaded.tokenizer,
            tiny_data,
            FAST,
            penalty=lambda model, inputs, outputs, by=strength: (
                by * model.classifier.weight.square().sum()
            ),
        )
        norms.append(float(loaded.model.classifier.weight.detach().norm()))
    assert norms[1] < 0.95 * norms[0]


def test_the_model_reads_what_a_batch_was_changed_to(
    tiny_folder: Path, tiny_data: TextDataset
) -> None:
    """A model that only ever saw swapped labels answers the other way round."""
    loaded = load_classifier(tiny_folder)

    def swap(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**inputs, "labels": 1 - inputs["labels"]}

    fine_tune(loaded.model, loaded.tokenizer, tiny_data, FAST, change=swap)
    answers = classify(loaded.model, loaded.tokenizer, list(tiny_data.texts)).argmax(axis=1)
    assert (answers == tiny_data.labels).mean() < 0.35


def test_an_absurd_learning_rate_is_diagnosed(
    tiny_model: LoadedModel, tiny_data: TextDataset
) -> None:
    settings = replace(FAST, learning_rate=1e30, max_grad_norm=1e30)
    with pytest.raises(DivergedError, match="learning rate"):
        fine_tune(tiny_model.model, tiny_model.tokenizer, tiny_data, settings)


def test_an_interrupted_run_resumes_to_the_same_weights(
    tiny_folder: Path, tiny_data: TextDataset, tmp_path: Path
) -> None:
    settings = replace(FAST, epochs=3)

    class StopError(Exception):
        pass

    calls = 0

    def fail_in_the_last_epoch(model: object, inputs: object, outputs: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise StopError
        return torch.zeros(())

    weights = []
    for folder, penalties in (
        (tmp_path / "whole", [None]),
        (tmp_path / "broken", [fail_in_the_last_epoch, None]),
    ):
        for penalty in penalties:
            loaded = load_classifier(tiny_folder)
            try:
                fine_tune(
                    loaded.model,
                    loaded.tokenizer,
                    tiny_data,
                    settings,
                    folder=folder,
                    resumable=True,
                    penalty=penalty,
                )
            except StopError:
                assert any(folder.glob("checkpoint-16"))
        weights.append(torch.cat([p.detach().flatten() for p in loaded.model.parameters()]))
    assert torch.equal(weights[0], weights[1])


def test_every_training_is_in_bf16_not_the_first_alone(
    tiny_model: LoadedModel, tiny_data: TextDataset
) -> None:
    seen: list[torch.dtype] = []
    projection = find_heads(tiny_model.model).layers[0].projection
    settings = replace(FAST, epochs=1, precision="bf16")
    for _ in range(2):
        hook = projection.register_forward_hook(lambda *called: seen.append(called[2].dtype))
        fine_tune(tiny_model.model, tiny_model.tokenizer, tiny_data, settings)
        hook.remove()
    assert set(seen) == {torch.bfloat16}


def test_the_model_computes_in_fp32_after_a_bf16_training(
    tiny_model: LoadedModel, tiny_data: TextDataset, tmp_path: Path
) -> None:
    settings = replace(FAST, epochs=1, precision="bf16")
    fine_tune(tiny_model.model, tiny_model.tokenizer, tiny_data, settings)
    tiny_model.model.save_pretrained(tmp_path)
    fresh = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    batch = tiny_model.tokenizer(["the film is great"], return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(tiny_model.model(**batch).logits, fresh(**batch).logits)


def test_nothing_is_printed_and_events_are_written(
    tiny_model: LoadedModel, tiny_data: TextDataset, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    settings = replace(FAST, epochs=1)
    fine_tune(tiny_model.model, tiny_model.tokenizer, tiny_data, settings, folder=tmp_path)
    assert any(tmp_path.rglob("events.out.tfevents*"))
    assert capfd.readouterr() == ("", "")


def test_truncated_sentences_are_counted(tiny_model: LoadedModel) -> None:
    data = TextDataset(("film " * 200, "a great film"), np.array([0, 1]))
    result = fine_tune(tiny_model.model, tiny_model.tokenizer, data, replace(FAST, epochs=1))
    assert result.truncated == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"learning_rate": -1.0},
        {"batch_size": 0},
        {"precision": "int4"},
        {"weight_decay": -1.0},
        {"weight_decay": float("inf")},
        {"max_grad_norm": float("inf")},  # JSON has none
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(SettingsError):
        FineTuneSettings(**wrong)


def test_settings_round_trip_through_json() -> None:
    settings = FineTuneSettings(epochs=2)
    assert FineTuneSettings(**json.loads(json.dumps(settings.__dict__))) == settings


def test_a_training_that_raises_leaves_no_thread_behind(
    tiny_model: LoadedModel, tiny_data: TextDataset, tmp_path: Path
) -> None:
    before = set(threading.enumerate())
    wild = replace(FAST, learning_rate=1e30, max_grad_norm=1e30)
    with pytest.raises(DivergedError):
        fine_tune(tiny_model.model, tiny_model.tokenizer, tiny_data, wild, folder=tmp_path)
    assert set(threading.enumerate()) <= before


def test_the_configuration_is_left_as_found(tiny_data: TextDataset) -> None:
    loaded = tiny_classifier("gpt2")
    assert loaded.model.config.use_cache is True
    fine_tune(loaded.model, loaded.tokenizer, tiny_data, replace(FAST, epochs=1))
    assert loaded.model.config.use_cache is True
