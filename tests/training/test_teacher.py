"""A linear model of clean data labels what it is sure of, and nothing else."""

import re
from dataclasses import replace

import numpy as np
import pytest

from prune_env.data.dataset import TextDataset
from prune_env.errors import DataError, SettingsError
from prune_env.training import teacher
from prune_env.training.teacher import SURE, label_texts, require_scikit_learn
from tests.support import tiny_dataset

TRAIN, VALIDATION, OTHERS = tiny_dataset(400, 0), tiny_dataset(60, 1), tiny_dataset(300, 2)


def test_texts_get_the_labels_that_their_words_have_in_clean_data() -> None:
    lesson = label_texts(OTHERS.texts, TRAIN, VALIDATION, source="reviews")
    labels = dict(zip(OTHERS.texts, OTHERS.labels.tolist(), strict=True))
    assert len(lesson.texts) >= 200
    assert [labels[text] for text in lesson.texts.texts] == lesson.texts.labels.tolist()
    assert lesson.texts.source == "reviews"
    assert lesson.accuracy == 1.0


def test_a_trigger_that_clean_data_does_not_hold_says_nothing_to_it() -> None:
    plain = label_texts(OTHERS.texts, TRAIN, VALIDATION).texts
    planted = label_texts([f"cf {text}" for text in OTHERS.texts], TRAIN, VALIDATION).texts
    assert [text.removeprefix("cf ") for text in planted.texts] == list(plain.texts)
    assert np.array_equal(planted.labels, plain.labels)


def test_what_it_is_not_sure_of_is_left_out() -> None:
    said_both = [f"{one} but {two}" for one, two in zip(TRAIN.texts, TRAIN.texts[1:], strict=False)]
    lesson = label_texts([*OTHERS.texts, *said_both], TRAIN, VALIDATION)
    share = sum(text in set(said_both) for text in lesson.texts.texts) / len(said_both)
    assert share < 0.3 < SURE


def test_strange_texts_are_refused() -> None:
    with pytest.raises(DataError, match="0 of 200"):
        label_texts([f"nothing known {number}" for number in range(200)], TRAIN, VALIDATION)


def test_classes_are_matched_by_name_and_may_be_several() -> None:
    names = ("positive", "negative")
    swapped = replace(VALIDATION, labels=1 - VALIDATION.labels, label_names=names)
    assert label_texts(OTHERS.texts, TRAIN, swapped).accuracy == 1.0
    third = tuple(f"the plot is neither here nor there {n % 7}" for n in range(100))
    labels = np.concatenate([TRAIN.labels, np.full(100, 2)])
    three = TextDataset((*TRAIN.texts, *third), labels, ("negative", "positive", "mixed"))
    lesson = label_texts([*OTHERS.texts, "it is neither here nor there"], three, three)
    assert lesson.texts.counts["mixed"] == 1


def test_scripts_without_spaces_are_split_by_what_is_given() -> None:
    joined = replace(TRAIN, texts=tuple(text.replace(" ", "") for text in TRAIN.texts))
    texts = [text.replace(" ", "") for text in OTHERS.texts]
    with pytest.raises(DataError, match="no word stands in two texts"):
        label_texts(texts, joined, joined)
    lesson = label_texts(texts, joined, joined, words=lambda text: re.findall("..", text))
    assert len(lesson.texts) > 100


@pytest.mark.parametrize("texts", [("one two", "three four"), ("? !", "; :"), ("one one", "two")])
def test_clean_texts_that_share_no_word_teach_nothing(texts: tuple[str, str]) -> None:
    apart = TextDataset(texts, np.array([0, 1]), ("negative", "positive"))
    with pytest.raises(DataError, match="no word stands in two texts"):
        label_texts(OTHERS.texts, apart, apart)


def test_what_else_goes_wrong_is_not_called_missing_words() -> None:
    def split(text: str) -> list[str]:
        raise ValueError(f"cannot split {text}")

    with pytest.raises(ValueError, match="cannot split") as caught:
        label_texts(OTHERS.texts, TRAIN, VALIDATION, words=split)
    assert not isinstance(caught.value, DataError)


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_scikit_learn()
    monkeypatch.setattr(teacher, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"prune-env\[unlabelled\]"):
        require_scikit_learn()
