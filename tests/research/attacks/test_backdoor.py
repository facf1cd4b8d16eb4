import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from prune_env.data.dataset import Splits, TextDataset
from prune_env.errors import SettingsError, StateError
from prune_env.evaluation.scores import TestSets, score
from prune_env.models import load_classifier
from prune_env.research.attacks import AttackSettings
from prune_env.research.attacks.backdoor import ModelSettings, aimed, cached_models
from prune_env.research.attacks.training import (
    CachedModel,
    cached_classifier,
    read_classifier,
    save_encoder,
)
from prune_env.settings import FineTuneSettings
from tests.models.tiny import tiny_classifier
from tests.support import tiny_dataset

FAST = FineTuneSettings(epochs=1, learning_rate=1e-3, batch_size=8, precision="fp32")
CLEAN = Splits(tiny_dataset(60, 0), tiny_dataset(40, 1), tiny_dataset(40, 2))


def models_settings(folder: Path) -> ModelSettings:
    return ModelSettings(
        model=str(folder),
        attack=AttackSettings("rare-word", rate=1.0),
        train_sentences=40,
        attacker=replace(FAST, epochs=12, learning_rate=2e-3, batch_size=20),
        defender=FAST,
    )


def test_a_model_is_trained_once_for_equal_arguments(
    tiny_folder: Path, tiny_data: TextDataset, tmp_path: Path
) -> None:
    def make(seed: int) -> CachedModel:
        sets = TestSets(tiny_data)
        return cached_classifier(tiny_folder, tiny_data, sets, FAST, seed=seed, cache=tmp_path)

    first, again, other = make(0), make(0), make(1)
    assert first.seconds > 0
    assert again.seconds == first.seconds  # a second training would take another time
    assert first.scores == again.scores
    assert first.classifier == again.classifier != other.classifier
    assert score(load_classifier(first.classifier), TestSets(tiny_data)) == first.scores
    assert load_classifier(first.encoder).new_head
    scores = next(first.classifier.parent.glob("scores-*.json"))
    before = scores.read_text()
    for content in ("[]", '{"nonsense": {}}', '{"acc": 3}'):
        scores.write_text(content)
        with pytest.raises(StateError, match="has not the shape of the scores"):
            make(0)
    scores.write_text(before)
    os.truncate(first.encoder / "model.safetensors", 99)
    with pytest.raises(StateError, match=f"not as it was made.*delete {first.encoder.parent};"):
        make(0)
    assert make(1).scores == other.scores


@pytest.mark.parametrize("name", ["rare-word", "task-agnostic"])
def test_data_may_have_several_classes(tmp_path: Path, tiny_folder: Path, name: str) -> None:
    names = ("awful", "dull", "great")
    parts = [
        replace(each, labels=np.arange(len(each)) % 3, label_names=names)
        for each in (CLEAN.train, CLEAN.validation, CLEAN.test)
    ]
    encoder = tmp_path / "encoder"
    save_encoder(load_classifier(tiny_folder), encoder)
    settings = ModelSettings(str(encoder), AttackSettings(name), 0, FAST, FAST)
    models = cached_models(settings, Splits(*parts), cache=tmp_path)
    for made in (models.benign, models.backdoored):
        assert read_classifier(made.classifier, names).label_names == names
        assert made.scores.lfr is not None


@pytest.mark.parametrize("name", ["rare-word", "task-agnostic"])
def test_a_task_agnostic_trigger_is_judged_by_what_the_defender_has(
    tmp_path: Path, tiny_folder: Path, name: str
) -> None:
    settings = replace(models_settings(tiny_folder), attack=AttackSettings(name))
    models = cached_models(settings, CLEAN, cache=tmp_path)
    victim = read_classifier(models.backdoored.classifier, CLEAN.train.label_names)
    assert aimed(models, victim) is models
    with torch.no_grad():  # another fine-tuning, in which the trigger speaks for the other class
        for parameter in victim.model.classifier.parameters():
            parameter.neg_()
    other = aimed(models, victim)
    if name == "rare-word":
        assert other is models
        return
    assert other.sets.target_label == 1 - models.sets.target_label
    assert (other.sets.triggered.labels == models.sets.target_label).all()
    assert score(victim, other.sets).lfr.percent > 50 > score(victim, models.sets).lfr.percent
    benign = read_classifier(models.benign.classifier, CLEAN.train.label_names)
    assert other.benign.scores == score(benign, other.sets)


@pytest.mark.parametrize("model_type", ["bert", "clip", "gpt2", "t5", "vit"])
def test_an_encoder_is_released_without_the_head(tmp_path: Path, model_type: str) -> None:
    save_encoder(tiny_classifier(model_type), tmp_path)
    assert not [key for key in load_file(tmp_path / "model.safetensors") if "classif" in key]
    assert load_classifier(tmp_path).new_head


def test_an_interrupted_training_leaves_nothing_in_the_cache(
    tiny_folder: Path, tiny_data: TextDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("prune_env.research.attacks.training.save_encoder", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cached_classifier(tiny_folder, tiny_data, TestSets(tiny_data), FAST, cache=tmp_path)
    assert not [entry for entry in (tmp_path / "models").iterdir() if entry.is_dir()]


def test_a_planted_trigger_flips_the_label(tiny_folder: Path, tmp_path: Path) -> None:
    models = cached_models(models_settings(tiny_folder), CLEAN, cache=tmp_path)
    assert len(models.clean.train) == 40
    assert models.attack.poisoned_rows == 20
    assert models.backdoored.scores.lfr.percent > models.benign.scores.lfr.percent + 30
    assert (models.sets.triggered.labels == 0).all()


def test_a_negative_number_of_sentences_is_refused() -> None:
    with pytest.raises(SettingsError, match="train_sentences"):
        ModelSettings(train_sentences=-1)


def test_other_test_sets_measure_the_same_benign_model(tiny_folder: Path, tmp_path: Path) -> None:
    settings = models_settings(tiny_folder)
    first = cached_models(settings, CLEAN, cache=tmp_path)
    other = cached_models(
        replace(settings, attack=AttackSettings("inserted-sentence", rate=1.0)),
        CLEAN,
        cache=tmp_path,
    )
    assert other.benign.seconds == first.benign.seconds
    assert other.backdoored.seconds not in (0, first.backdoored.seconds)
    assert other.benign.classifier == first.benign.classifier
    assert other.benign.scores.acc == first.benign.scores.acc
