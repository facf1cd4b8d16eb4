import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prune_env.errors import MetricError
from prune_env.evaluation import metrics

LOGITS = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 1.5], [4.0, 0.0]])


def test_accuracy_counts_the_largest_logit() -> None:
    result = metrics.accuracy(LOGITS, np.array([0, 1, 0, 0]))
    assert (result.count, result.total, result.percent) == (3, 4, 75.0)


def test_the_interval_is_wilsons() -> None:
    # Wilson, 8 of 10: (0.4902, 0.9433), as printed in textbooks.
    result = metrics.share(np.array([True] * 8 + [False] * 2))
    assert (result.low, result.high) == pytest.approx((49.02, 94.33), abs=0.01)


def test_lfr_is_the_share_predicted_as_target() -> None:
    assert metrics.label_flip_rate(LOGITS, target=1).percent == 50.0
    assert metrics.label_flip_rate(LOGITS, target=0).percent == 50.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_wrong_and_flipped(bad: float) -> None:
    logits = np.array([[bad, 0.0], [1.0, 0.0]])
    assert metrics.accuracy(logits, np.array([0, 0])).percent == 50.0
    flipped = metrics.label_flip_rate(logits, target=1)
    assert (flipped.percent, flipped.invalid) == (50.0, 1)


def test_no_rows_is_an_error_and_not_zero() -> None:
    with pytest.raises(MetricError, match="no rows"):
        metrics.label_flip_rate(np.empty((0, 2)))


def test_a_tie_goes_to_another_class_than_the_target() -> None:
    assert metrics.predict(np.zeros((1, 2)), target=1).tolist() == [0]


@given(
    arrays(np.float64, (20, 3), elements=st.floats(-5, 5), unique=True),
    arrays(np.int64, 20, elements=st.integers(0, 2)),
    st.integers(0, 2),
)
def test_the_calibrated_threshold_gives_the_share_of_the_labels(
    logits: np.ndarray, labels: np.ndarray, target: int
) -> None:
    scores = np.sort(metrics.margin(logits, target))
    if np.diff(scores).min() < 1e-9:
        return  # equal scores cannot be parted
    threshold = metrics.calibrated_threshold(logits, labels, target)
    assert (metrics.predict(logits, target, threshold) == target).sum() == (labels == target).sum()


def test_calibration_takes_back_what_a_bias_gained() -> None:
    rng = np.random.default_rng(0)
    clean, triggered = rng.normal(size=(400, 2)), rng.normal((0, 1), size=(200, 2))
    labels = (metrics.margin(clean) > 0).astype(np.int64)
    shifted = [logits + np.array([2.0, 0.0]) for logits in (clean, triggered)]
    assert metrics.label_flip_rate(shifted[1]).percent < metrics.label_flip_rate(triggered).percent
    before = metrics.calibrated_threshold(clean, labels)
    after = metrics.calibrated_threshold(shifted[0], labels)
    assert (
        metrics.label_flip_rate(shifted[1], threshold=after).percent
        == metrics.label_flip_rate(triggered, threshold=before).percent
    )


def test_calibration_refuses_nan() -> None:
    with pytest.raises(MetricError, match="not finite"):
        metrics.calibrated_threshold(np.array([[np.nan, 0.0]]), np.array([1]))


def test_fidelity_is_the_drop_times_the_accuracy_kept() -> None:
    assert metrics.fidelity(80, 20, 90, 81) == pytest.approx(0.75 * 0.9)
    assert metrics.fidelity(0, 0, 90, 90) == 0.0
    with pytest.raises(MetricError):
        metrics.fidelity(80, 20, 0, 0)


def test_mcnemar_is_the_exact_sign_test_on_disagreements() -> None:
    first = np.array([True] * 10 + [False] * 2)
    second = np.array([False] * 10 + [True] * 2)
    assert metrics.mcnemar(first, second) == pytest.approx(0.03857, abs=1e-4)
    assert metrics.mcnemar(first, first) == 1.0
    with pytest.raises(MetricError):
        metrics.mcnemar(first, second[:-1])


@pytest.mark.parametrize("classes", [2, 3, 4, 7])
def test_at_calibrated_shifts_every_class_is_answered_as_often_as_it_is_the_label(classes):
    draw = np.random.default_rng(classes)
    labels = draw.integers(classes, size=400)
    favoured = 30 * draw.normal(size=classes)
    logits = draw.normal(size=(400, classes)) + 2 * np.eye(classes)[labels] + favoured
    shifts = metrics.calibrated_shifts(logits, labels)
    answers = (logits - shifts).argmax(axis=1)
    assert (np.bincount(answers, minlength=classes) == np.bincount(labels)).all()
    assert (answers == labels).mean() > (logits.argmax(axis=1) == labels).mean()
    if classes == 2:
        assert shifts[1] - shifts[0] == pytest.approx(metrics.calibrated_threshold(logits, labels))


def test_a_class_without_a_label_is_never_answered():
    labels = np.array([0, 0, 1, 1])
    logits = np.array([[1.0, 0, 5], [2, 0, 5], [0, 1, 5], [0, 3, 5]])
    answers = (logits - metrics.calibrated_shifts(logits, labels)).argmax(axis=1)
    assert answers.tolist() == labels.tolist()


def test_answers_of_masks_are_calibrated_and_spoilt_ones_told():
    labels = np.array([0, 1, 2])
    clean = np.stack([3 * np.eye(3) + [9, 0, 0], np.full((3, 3), np.nan)])
    moved = np.stack([3 * np.eye(3)[[2, 1]] + [9, 0, 0]] * 2)
    assert metrics.calibrated_answers(clean, labels, moved).tolist() == [[2, 1], [-1, -1]]


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_shifts_are_those_of_the_thresholds_one_class_after_the_other(classes):
    random = np.random.default_rng(classes)
    logits = random.normal(size=(90, classes)).astype(np.float32)
    labels = random.integers(0, classes, 90)
    shifts = np.zeros(classes)
    for _ in range(metrics.SWEEPS):
        for target in reversed(range(classes)):
            shifts[target] += metrics.calibrated_threshold(logits - shifts, labels, target)
        shifts -= shifts.mean()
        called = np.bincount((logits - shifts).argmax(axis=1), minlength=classes)
        if (called == np.bincount(labels, minlength=classes)).all():
            break
    else:
        pytest.fail("no shifts fit these labels")
    np.testing.assert_array_equal(metrics.calibrated_shifts(logits, labels), shifts)


def test_where_no_shifts_fit_the_best_that_were_met_are_taken():
    rows = [[0, 1, 1], [1, 2, 2], [0, 1, 2], [2, 2, 1], [1, 1, 1], [0, 1, 0], [1, 2, 2]]
    logits, labels = np.array(rows, float), np.array([2, 0, 0, 1, 2, 0, 2])
    answers = (logits - metrics.calibrated_shifts(logits, labels)).argmax(axis=1)
    off = np.abs(np.bincount(answers, minlength=3) - np.bincount(labels)).sum()
    assert off == 2  # the last round over the classes leaves 6
