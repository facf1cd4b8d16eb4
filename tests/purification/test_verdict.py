"""Whether tau is kept, and how much few rows can tell of it."""

import numpy as np
import pytest

from prune_env.data.dataset import TextDataset
from prune_env.evaluation.metrics import share
from prune_env.purification.verdict import compare, verdict


def data(*counts: int) -> TextDataset:
    labels = np.repeat(np.arange(len(counts)), counts)
    texts = tuple(f"text {row}" for row in range(len(labels)))
    return TextDataset(texts, labels, tuple("abc"[: len(counts)]), "here")


def test_few_rows_cannot_tell_and_many_can() -> None:
    few, many = data(5, 5), data(2000, 2000)
    right = np.arange(10) != 0
    told = verdict(right, few, 0.85, "accuracy")
    assert (told.keeps_tau, told.sure, told.rows) == (True, False, 10)
    assert (told.low, told.high) == pytest.approx((0.5958, 0.9821), abs=1e-3)  # Wilson
    told = verdict(np.tile(right, 400), many, 0.85, "accuracy")
    assert (told.keeps_tau, told.sure) == (True, True)
    told = verdict(np.tile(right, 400), many, 0.95, "accuracy")
    assert (told.keeps_tau, told.sure) == (False, True)


def test_a_constant_answer_does_not_keep_tau_however_often_it_is_right() -> None:
    skewed = data(250, 5)
    told = verdict(skewed.labels == 0, skewed, 0.85, "balanced")
    assert (told.accuracy, told.value, told.keeps_tau) == (250 / 255, 0.0, False)
    assert told.recalls == {"a": 1.0, "b": 0.0}
    assert verdict(skewed.labels == 0, skewed, 0.85, "recall").value == 0.0


def test_the_interval_of_balanced_accuracy_knows_the_rare_class() -> None:
    skewed = data(1000, 10)
    right = np.concatenate([np.arange(1000) >= 100, np.arange(10) >= 1])
    balanced = verdict(right, skewed, 0.85, "balanced")
    assert balanced.value == pytest.approx(0.9)
    assert balanced.low < 0.76
    assert balanced.high > 0.93


def test_a_drop_is_judged_on_the_rows_that_changed() -> None:
    rows = data(150, 150)
    before = np.arange(300) % 5 != 0  # 240 right
    right = before & (np.arange(300) != 1)
    alone = verdict(right, rows, 0.77, "accuracy")
    assert (alone.keeps_tau, alone.judgement, alone.change) == (True, "cannot be told", None)
    paired = verdict(right, rows, 0.77, "accuracy", before=before, relative=True)
    assert (paired.judgement, paired.change.lost, paired.change.won) == ("kept", 1, 0)
    assert verdict(right, rows, 0.77, "accuracy", before=before).judgement == "cannot be told"
    worse = verdict(before & (np.arange(300) > 60), rows, 0.77, "accuracy", before=before)
    assert (worse.keeps_tau, worse.judgement) == (False, "not kept")
    assert worse.to_json()["change"]["lost"] == 48


def test_few_rows_of_which_none_changed_are_no_proof_either() -> None:
    right = np.arange(16) % 4 != 0
    told = verdict(right, data(8, 8), 0.72, "balanced", before=right, relative=True)
    assert (told.keeps_tau, told.judgement) == (True, "cannot be told")
    assert told.change.low < -0.05 < 0.05 < told.change.high


def test_the_paired_interval_covers_what_it_says() -> None:
    random, labels = np.random.default_rng(0), np.zeros(60, np.int64)
    covered = []
    for _ in range(300):  # of 60 rows; in truth 10 % are lost and 2 % won
        before = random.random(60) < 0.8
        right = np.where(before, random.random(60) >= 0.125, random.random(60) < 0.1)
        found = compare(before, right, labels, "accuracy")
        covered.append(found.low <= -0.08 <= found.high)
        assert found.high - found.low < 0.3
    assert 0.92 <= np.mean(covered) <= 0.995


def test_the_interval_of_a_constant_answer_holds_its_value() -> None:
    skewed = data(250, 5)
    told = verdict(skewed.labels == 0, skewed, 0.85, "balanced")
    assert told.low == told.value == 0 < told.high


def test_the_interval_of_a_mean_is_that_of_independent_parts() -> None:
    right = np.tile(np.arange(100) >= 10, 2)
    told, one = verdict(right, data(100, 100), 0.85, "balanced"), share(right[:100])
    assert told.high - told.value == pytest.approx((one.high - one.percent) / 100 / 2**0.5)
    assert told.value - told.low == pytest.approx((one.percent - one.low) / 100 / 2**0.5)


def test_the_interval_of_the_least_recall_is_that_of_its_class() -> None:
    right = np.concatenate([np.arange(100) >= 10, np.arange(11) >= 1])  # 90.0 and 90.9 %
    told, least = verdict(right, data(100, 11), 0.85, "recall"), share(right[:100])
    assert (told.value, told.low) == pytest.approx((least.percent / 100, least.low / 100))


def test_a_change_judges_neither_the_least_recall_nor_a_constant_answer() -> None:
    rows = data(150, 150)
    before = np.arange(300) % 5 != 0
    told = verdict(before, rows, 0.77, "recall", before=before, relative=True)
    assert (told.keeps_tau, told.judgement) == (True, "cannot be told")
    constant = rows.labels == 0
    told = verdict(constant, rows, 0.4, "balanced", before=np.ones(300, bool), relative=True)
    assert (told.keeps_tau, told.judgement) == (False, "cannot be told")


def test_the_change_of_accuracy_is_one_of_rows_and_not_of_classes() -> None:
    rows = data(290, 10)
    change = compare(np.ones(300, bool), rows.labels == 0, rows.labels, "accuracy")
    assert -0.1 < change.low < -10 / 300 < change.high < 0


def test_the_ends_of_a_change_are_those_of_what_was_won_and_lost_crosswise() -> None:
    before = np.arange(300) < 240
    right = (np.arange(300) >= 12) & (np.arange(300) < 243)  # 12 rows lost, 3 won
    change = compare(before, right, np.zeros(300, int), "accuracy")
    lost, won = share(before & ~right), share(right & ~before)
    below = np.hypot(won.percent - won.low, lost.high - lost.percent)
    above = np.hypot(won.high - won.percent, lost.percent - lost.low)
    assert (change.lost, change.won) == (12, 3)
    assert 100 * change.low == pytest.approx(won.percent - lost.percent - below)
    assert 100 * change.high == pytest.approx(won.percent - lost.percent + above)
