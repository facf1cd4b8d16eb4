"""A run stops where answers and labels do not belong together."""

from pathlib import Path

import numpy as np
import pytest

from prune_env.errors import DataError, ModelError
from prune_env.evaluation.base import Evaluation
from prune_env.models import load_classifier
from prune_env.purification import purify
from prune_env.purification.answers import check_answers, confusion
from prune_env.settings import FineTuneSettings
from prune_env.training.fine_tuning import fine_tune
from tests.support import tiny_dataset, write_tiny_folder

TUNING = FineTuneSettings(epochs=20, learning_rate=3e-3, batch_size=8)
NAMES = ("world", "sports", "business")


def answers(labels: np.ndarray, predictions: np.ndarray, classes: int) -> Evaluation:
    return Evaluation.from_logits(np.eye(classes, dtype=np.float32)[predictions][None], labels)


def mostly(labels: np.ndarray, share: float, classes: int, seed: int = 0) -> np.ndarray:
    """Return predictions, of which so many are right and the others any class."""
    random = np.random.default_rng(seed)
    any_class = random.integers(classes, size=len(labels))
    return np.where(random.random(len(labels)) < share, labels, any_class)


@pytest.mark.parametrize("rows", [20, 400])
def test_reversed_labels_stop_the_run_and_are_shown(rows: int) -> None:
    labels = np.arange(rows) % 2
    with pytest.raises(ModelError, match="negative for positive, positive for negative") as caught:
        check_answers(answers(labels, 1 - labels, 2), ("negative", "positive"), "suspect")
    half = rows // 2
    assert f"negative rows answered negative 0, positive {half}" in str(caught.value)


def test_two_of_three_labels_that_are_swapped_stop_it_too() -> None:
    labels = np.arange(300) % 3
    swapped = np.array([1, 0, 2])[mostly(labels, 0.9, 3)]
    with pytest.raises(ModelError, match="world for sports, sports for world") as caught:
        check_answers(answers(labels, swapped, 3), NAMES, "suspect")
    assert "business for" not in str(caught.value)


@pytest.mark.parametrize("share", [0.6, 0.95])
def test_a_useful_classifier_passes(share: float, caplog: pytest.LogCaptureFixture) -> None:
    labels = np.arange(300) % 3
    check_answers(answers(labels, mostly(labels, share, 3), 3), NAMES, "suspect")
    assert not caplog.records


def test_a_constant_answer_is_at_chance_however_often_it_is_right() -> None:
    labels = np.repeat([0, 1], [250, 5])
    with pytest.raises(DataError, match=r"no better than chance.*b rows answered a 5, b 0"):
        check_answers(answers(labels, np.zeros_like(labels), 2), ("a", "b"), "suspect")


def test_guesses_stop_it_where_there_are_rows_enough(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.arange(400) % 2
    guesses = mostly(labels, 0.0, 2)
    with pytest.raises(DataError, match="no better than chance"):
        check_answers(answers(labels, guesses, 2), ("a", "b"), "suspect")
    check_answers(answers(labels[:8], np.arange(8) // 4, 2), ("a", "b"), "suspect")
    assert "cannot be told from chance" in caplog.text


def test_answers_that_are_no_class_are_left_out_of_the_matrix() -> None:
    found = confusion(np.array([-1, 0, 1, 1]), np.array([0, 0, 0, 1]), 2)
    assert found.tolist() == [[1, 1], [0, 1]]


def test_purify_does_not_touch_a_classifier_whose_labels_are_reversed(tmp_path: Path) -> None:
    data = tiny_dataset(60)
    train, validation = data.split(0.5, seed=0)
    loaded = load_classifier(write_tiny_folder(tmp_path / "new"))
    fine_tune(loaded.model, loaded.tokenizer, data, TUNING)
    order = {"negative": 1, "positive": 0}
    loaded.model.config.id2label = {index: name for name, index in order.items()}
    loaded.model.config.label2id = order
    loaded.model.save_pretrained(tmp_path / "reversed")
    loaded.tokenizer.save_pretrained(tmp_path / "reversed")
    with pytest.raises(ModelError, match="reversed"):
        purify(tmp_path / "reversed", train, validation, tmp_path / "out")
    assert not (tmp_path / "out").exists()
