"""The suspicious model becomes a classifier whose heads are measured."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from prune_env.data.unlabelled import Unlabelled
from prune_env.errors import SettingsError
from prune_env.purification import fine_tune_suspicious, prepare
from prune_env.purification.prepare import teach
from prune_env.settings import FineTuneSettings, LoadingSettings
from prune_env.training.phases import Phase, TrainingRun
from tests.support import tiny_dataset

TUNING = FineTuneSettings(epochs=1, learning_rate=1e-3, batch_size=16, precision="fp32")
RUN = TrainingRun(TUNING)
TRAIN, VALIDATION = tiny_dataset(60, 0), tiny_dataset(30, 1)


def test_a_subject_says_where_it_comes_from_and_what_it_took(tiny_folder: Path) -> None:
    subject = prepare(tiny_folder, TRAIN, VALIDATION, RUN, metrics=("magnitude",))
    assert subject.source == str(tiny_folder)
    assert subject.seconds > 0
    suspect = subject.require_suspect()
    assert not suspect.loaded.new_head
    assert suspect.evaluator is subject.evaluator
    assert subject.accuracy == subject.evaluator.accuracy(np.ones((1, 2, 4), bool))[0]
    assert subject.importance.shape == (2, 4, 1)
    assert (subject.importance > 0).all()
    assert prepare(tiny_folder, TRAIN, VALIDATION, RUN, metrics=()).metrics == ()


def test_loading_options_reach_the_loader(tiny_folder: Path) -> None:
    loaded = fine_tune_suspicious(tiny_folder, TRAIN, RUN, LoadingSettings(head="new"))
    assert loaded.new_head


def test_a_ready_classifier_is_not_fine_tuned_in_a_way_of_its_own(tiny_folder: Path) -> None:
    own = TrainingRun(TUNING, (Phase(epochs=2),))
    with pytest.raises(SettingsError, match="head of its own"):
        fine_tune_suspicious(tiny_folder, TRAIN, own)


def test_a_ready_classifier_is_moved_to_the_device(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(prepare.__module__)  # the package has a function of that name
    monkeypatch.setattr(module, "pick_device", lambda: torch.device("meta"))
    assert fine_tune_suspicious(tiny_folder, TRAIN, RUN).model.device.type == "meta"


def test_unlabelled_texts_of_the_clean_data_are_left_out(
    tiny_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows that judge a model must not be trained on, whoever labelled them."""
    train, others = tiny_dataset(400, 2), tiny_dataset(300, 3)
    subject = prepare(tiny_folder, train, VALIDATION, RUN, metrics=())
    own = {*train.keys, *VALIDATION.keys}
    known = sum(key in own for key in others.keys)
    texts = Unlabelled((*others.texts, *VALIDATION.texts[:20], train.texts[0].upper()), "mails.txt")
    known += sum(key not in set(others.keys) for key in VALIDATION.select(np.arange(20)).keys)
    texts = replace(texts, texts=tuple(dict.fromkeys(texts.texts)))
    lesson = teach(subject, texts).require_suspect().lesson
    assert lesson is not None
    assert own.isdisjoint(lesson.texts.keys)
    assert lesson.known == known + 1
    assert f"{lesson.known} unlabelled texts of mails.txt also stand in" in caplog.text
