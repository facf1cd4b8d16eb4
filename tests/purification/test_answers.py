"""A run stops where answers and labels do not belong together."""

from pathlib import Path

import numpy as np
import pytest
import torch

from prune_env.errors import DataError, ModelError
from prune_env.evaluation.base import Evaluation
from prune_env.models import load_classifier
from prune_env.purification import purify
from prune_env.purification.answers import Answers, check_answers, require_a_guard
from prune_env.settings import FineTuneSettings, Guard, SearchSettings
from prune_env.training.fine_tuning import fine_tune
from tests.support import tiny_bert, tiny_dataset, tiny_tokenizer, write_tiny_folder

TUNING = FineTuneSettings(epochs=20, learning_rate=3e-3, batch_size=8)
NAMES = ("world", "sports", "business")


def answers(labels: np.ndarray, predictions: np.ndarray, classes: int) -> Evaluation:
    return Evaluation.from_logits(np.eye(classes, dtype=np.float32)[predictions][None], labels)


def mostly(labels: np.ndarray, share: float, classes: int) -> np.ndarray:
    """Return predictions, of which so many are right and the others any class."""
    random = np.random.default_rng(0)
    any_class = random.integers(classes, size=len(labels))
    return np.where(random.random(len(labels)) < share, labels, any_class)


def check(
    labels: np.ndarray, predictions: np.ndarray, names: tuple[str, ...], *, ready: bool = True
) -> Answers:
    return check_answers(answers(labels, predictions, len(names)), names, "suspect", ready=ready)


@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize("rows", [20, 400])
def test_reversed_labels_stop_the_run_and_are_shown(rows: int, ready: bool) -> None:
    labels = np.arange(rows) % 2
    with pytest.raises(ModelError, match="negative for positive, positive for negative") as caught:
        check(labels, 1 - labels, ("negative", "positive"), ready=ready)
    assert ("--epochs" in str(caught.value)) != ready  # a new head may have had too few steps
    half = rows // 2
    assert f"negative rows answered negative 0, positive {half}" in str(caught.value)


def test_two_of_three_labels_that_are_swapped_stop_it_too() -> None:
    labels = np.arange(300) % 3
    swapped = np.array([1, 0, 2])[mostly(labels, 0.9, 3)]
    with pytest.raises(ModelError, match="world for sports, sports for world") as caught:
        check(labels, swapped, NAMES)
    assert "business for" not in str(caught.value)


def test_few_rows_are_no_proof_of_another_order_but_worse_than_chance_stops_a_ready_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    labels = np.arange(8) % 2
    with pytest.raises(DataError, match=r"worse than chance.*balanced accuracy above 0.500"):
        check(labels, 1 - labels, ("a", "b"))
    assert check(labels, 1 - labels, ("a", "b"), ready=False).at_chance
    half = np.arange(8) // 2 % 2
    assert check(labels, half, ("a", "b")).at_chance
    assert caplog.text.count("cannot be told from chance") == 2


def test_training_rows_tell_what_few_validation_rows_cannot() -> None:
    few, many = np.arange(8) % 2, np.arange(392) % 2
    for predict, error in (
        (lambda labels: 1 - labels, "looks reversed"),
        (lambda labels: mostly(labels, 0.0, 2), "no better than chance.*on 400 clean rows"),
    ):
        more = answers(many, predict(many), 2)
        own = answers(few, np.arange(8) // 2 % 2 if "better" in error else predict(few), 2)
        with pytest.raises((DataError, ModelError), match=error):
            check_answers(own, ("a", "b"), "suspect", ready=True, more=lambda more=more: more)


def test_training_rows_clear_a_good_classifier_and_are_asked_in_doubt_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    few, many = np.arange(8) % 2, np.arange(392) % 2
    good = answers(many, mostly(many, 0.8, 2), 2)
    unlucky = answers(few, np.arange(8) // 2 % 2, 2)
    found = check_answers(unlucky, ("a", "b"), "suspect", ready=True, more=lambda: good)
    assert (len(found.labels), found.at_chance) == (8, True)
    assert not caplog.records

    def none() -> Evaluation:
        raise AssertionError

    check_answers(answers(few, few, 2), ("a", "b"), "suspect", ready=True, more=none)


@pytest.mark.parametrize(
    ("guard", "needed"), [("balanced", "two classes"), ("recall", "every class")]
)
def test_what_has_nothing_to_guard_is_refused_and_of_a_new_head_warned_of(
    guard: Guard, needed: str, caplog: pytest.LogCaptureFixture
) -> None:
    labels = np.arange(8) % 2
    constant = Answers(np.zeros_like(labels), labels, ("a", "b"))
    with pytest.raises(DataError, match=f"{needed}.*b rows answered a 4, b 0"):
        require_a_guard(constant, guard, "suspect", ready=True)
    require_a_guard(constant, guard, "suspect", ready=False)
    assert "nothing is guarded. Bring more rows" in caplog.text


def test_answers_that_are_poor_in_any_order_only_warn(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.arange(400) % 2
    poor = np.where(np.arange(400) % 10 < 4, labels, 1 - labels)
    assert check(labels, poor, ("a", "b"), ready=False).balanced[0] == pytest.approx(0.4)
    assert "cannot be told from chance" in caplog.text


@pytest.mark.parametrize("share", [0.6, 0.95])
def test_a_useful_classifier_passes(share: float, caplog: pytest.LogCaptureFixture) -> None:
    labels = np.arange(300) % 3
    found = check(labels, mostly(labels, share, 3), NAMES)
    assert not caplog.records
    assert not found.at_chance
    assert found.to_json()["confusion"]["world"]["world"] == found.matrix[0, 0] > 60


def test_a_constant_answer_is_at_chance_however_often_it_is_right() -> None:
    labels = np.repeat([0, 1], [250, 5])
    with pytest.raises(DataError, match=r"no better than chance.*0.500 .*b rows answered a 5, b 0"):
        check(labels, np.zeros_like(labels), ("a", "b"))


def test_guesses_stop_a_ready_classifier_where_there_are_rows_enough(
    caplog: pytest.LogCaptureFixture,
) -> None:
    labels = np.arange(400) % 2
    guesses = mostly(labels, 0.0, 2)
    with pytest.raises(DataError, match="no better than chance"):
        check(labels, guesses, ("a", "b"))
    assert not caplog.records
    check(labels, guesses, ("a", "b"), ready=False)
    assert "cannot be told from chance" in caplog.text


def test_rows_of_one_class_tell_nothing_of_chance() -> None:
    labels = np.zeros(200, np.int64)
    assert not check(labels, labels, ("a", "b")).at_chance


def test_answers_that_are_no_class_are_left_out_of_the_matrix() -> None:
    found = Answers(np.array([-1, 0, 1, 1]), np.array([0, 0, 0, 1]), ("bad", "good"))
    assert found.matrix.tolist() == [[1, 1], [0, 1]]
    assert found.describe() == "bad rows answered bad 1, good 1; good rows answered bad 0, good 1"


@pytest.mark.parametrize("rows", [60, 24])
def test_purify_does_not_touch_a_classifier_whose_labels_are_reversed(
    rows: int, tmp_path: Path
) -> None:
    data = tiny_dataset(rows)
    train, validation = data.split(0.2, seed=0)
    loaded = load_classifier(write_tiny_folder(tmp_path / "new"))
    fine_tune(loaded.model, loaded.tokenizer, tiny_dataset(60), TUNING)
    order = {"negative": 1, "positive": 0}
    loaded.model.config.id2label = {index: name for name, index in order.items()}
    loaded.model.config.label2id = order
    loaded.model.save_pretrained(tmp_path / "reversed")
    loaded.tokenizer.save_pretrained(tmp_path / "reversed")
    with pytest.raises(ModelError, match="reversed"):
        purify(tmp_path / "reversed", train, validation, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_ready_constant_is_not_purified(tmp_path: Path) -> None:
    model = tiny_bert()
    with torch.no_grad():
        model.classifier.bias[0] = 1e4
    model.save_pretrained(tmp_path / "constant")
    tiny_tokenizer().save_pretrained(tmp_path / "constant")
    train, validation = tiny_dataset(60).split(0.2, seed=0)
    settings = SearchSettings(guard="balanced")
    with pytest.raises(DataError, match="0 of what tau guards"):
        purify(tmp_path / "constant", train, validation, tmp_path / "out", search_settings=settings)
    assert not (tmp_path / "out").exists()


def test_of_many_classes_the_worst_are_told() -> None:
    labels = np.repeat(np.arange(77), 4)
    names = tuple(f"class {number}" for number in range(77))
    predictions = np.where(labels == 5, 6, labels)
    told = Answers(predictions, labels, names).describe()
    assert told.startswith("class 5 rows answered class 6 4, ")
    assert told.endswith("and 69 classes more")
    assert len(told) < 1500
