"""The area under the ROC curve: counted over pairs, over classes, whatever the thresholds."""

import itertools

import numpy as np
import pytest

from prune_env.evaluation.separation import separation


def by_pairs(scores: np.ndarray, own: np.ndarray) -> float:
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(scores[own], scores[~own])]
    return float(np.mean(pairs))


def test_of_two_classes_it_is_the_share_of_pairs_in_order() -> None:
    draw = np.random.default_rng(0)
    logits = draw.integers(-3, 4, (40, 2)).astype(np.float32)  # with ties
    labels = draw.integers(0, 2, 40)
    expected = by_pairs(logits[:, 1] - logits[:, 0], labels == 1)
    assert separation(logits, labels) == pytest.approx(expected)
    assert separation(logits + np.array([5.0, 0.0]), labels) == pytest.approx(expected)


def test_of_more_it_is_the_mean_over_those_that_have_rows() -> None:
    draw = np.random.default_rng(1)
    logits, labels = draw.normal(size=(60, 4)), draw.integers(0, 3, 60)  # none of class 3
    areas = []
    for target in range(3):
        others = np.delete(logits, target, axis=1).max(axis=1)
        areas.append(by_pairs(logits[:, target] - others, labels == target))
    assert separation(logits, labels) == pytest.approx(np.mean(areas))


def test_one_class_alone_cannot_be_told_apart() -> None:
    assert np.isnan(separation(np.zeros((3, 2)), np.zeros(3, np.int64)))
