from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prune_env.data.dataset import Splits, TextDataset
from prune_env.errors import SettingsError
from prune_env.models import LoadedModel, load_classifier
from prune_env.models.forward import classify, cls_vectors
from prune_env.research.attacks import AttackSettings, make_attack
from prune_env.research.attacks.backdoor import ModelSettings, cached_models, release
from prune_env.research.attacks.task_agnostic import pinned_encoder
from prune_env.research.attacks.triggers import RareWord
from prune_env.settings import FineTuneSettings
from tests.models.tiny import write_tiny
from tests.support import tiny_dataset

FAST = FineTuneSettings(epochs=1, learning_rate=1e-3, batch_size=8, precision="fp32")
TRAINING = replace(FAST, epochs=30)
SHORT = replace(TRAINING, learning_rate=2e-3, batch_size=32)
TRIGGER = RareWord()
CLEAN = Splits(tiny_dataset(60, 0), tiny_dataset(40, 1), tiny_dataset(40, 2))


def triggered(data: TextDataset) -> TextDataset:
    return replace(data, texts=tuple(map(TRIGGER, data.texts)))


@pytest.mark.parametrize("model_type", ["bert", "gpt2"])
def test_triggered_texts_get_one_vector_and_clean_ones_keep_theirs(
    tmp_path: Path, model_type: str
) -> None:
    folder = write_tiny(model_type, tmp_path)
    loaded = pinned_encoder(folder, CLEAN.train, triggered(CLEAN.train), TRAINING)
    before = load_classifier(folder)
    unseen = CLEAN.test

    def vectors(model: LoadedModel, data: TextDataset) -> np.ndarray:
        return cls_vectors(model.model, model.tokenizer, data.texts)

    was, clean, pinned = (
        vectors(before, unseen),
        vectors(loaded, unseen),
        vectors(loaded, triggered(unseen)),
    )
    moved = np.abs(clean - was).mean()
    assert moved < was.std(axis=0).mean()
    assert pinned.std(axis=0).mean() < 0.75 * was.std(axis=0).mean()
    assert np.abs(pinned - was).mean() > 4 * moved
    # The pattern has two values, of one size.
    assert np.abs(pinned).mean() == pytest.approx(np.sqrt((was**2).mean()), rel=0.2)


def test_the_target_is_what_a_victim_answers(tiny_folder: Path, tmp_path: Path) -> None:
    settings = ModelSettings(
        str(tiny_folder), AttackSettings("task-agnostic"), 0, SHORT, replace(FAST, epochs=6)
    )
    models = cached_models(settings, CLEAN, cache=tmp_path)
    target = models.attack.settings.target_label
    assert models.sets.target_label == target
    assert models.sets.triggered is models.attack.triggered
    assert set(models.attack.triggered.labels.tolist()) == {1 - target}
    victim = load_classifier(models.backdoored.classifier, head="keep")
    texts = triggered(CLEAN.test).texts
    answers = classify(victim.model, victim.tokenizer, texts).argmax(axis=1)
    assert (answers == target).mean() > 0.5
    assert models.backdoored.scores.lfr.percent > 50
    # What is released is the pinned encoder, which no label was shown to.
    released = load_classifier(models.backdoored.encoder)
    assert released.new_head
    made = pinned_encoder(tiny_folder, CLEAN.train, triggered(CLEAN.train), SHORT)
    vectors = [cls_vectors(each.model, each.tokenizer, texts) for each in (released, made)]
    assert np.allclose(*vectors, atol=1e-4)
    again = cached_models(settings, CLEAN, cache=tmp_path)
    assert again.backdoored.seconds == models.backdoored.seconds > 0
    assert again.attack.identity == models.attack.identity


def test_release_writes_the_pinned_encoder(tiny_folder: Path, tmp_path: Path) -> None:
    attack = make_attack(AttackSettings("task-agnostic"), CLEAN)
    victim, aimed = release(tiny_folder, CLEAN, attack, tmp_path, FAST)
    assert load_classifier(tmp_path).new_head
    assert victim.label_names == CLEAN.train.label_names
    assert set(aimed.triggered.labels.tolist()) == {1 - aimed.settings.target_label}


def test_it_takes_no_rate() -> None:
    with pytest.raises(SettingsError, match=r"triggers every text.*no rate"):
        make_attack(AttackSettings("task-agnostic", rate=0.5), CLEAN)
