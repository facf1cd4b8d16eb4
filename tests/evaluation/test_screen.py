import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.evaluation.base import predicted_classes, top_two_gap
from prune_env.evaluation.screen import unsure


def corrected(rough: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rough logits with the true ones where they were asked for, and where that is."""
    result, checked = rough.copy(), np.zeros(len(rough), bool)
    for rows in unsure(result):
        assert not checked[rows].any()  # each once
        result[rows], checked[rows] = truth[rows], True
    assert np.array_equal(result[~checked], rough[~checked], equal_nan=True)
    return result, checked


def screened(truth: np.ndarray, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return corrected(
        (truth + random.normal(scale=noise, size=truth.shape)).astype(np.float32), truth
    )


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 400), st.floats(0, 0.5), st.floats(0.01, 8), st.integers(0, 10**6))
def test_classes_survive_noise(samples: int, noise: float, scale: float, seed: int) -> None:
    truth = np.random.default_rng(seed + 1).normal(scale=scale, size=(samples, 2))
    truth = truth.astype(np.float32)
    result, checked = screened(truth, noise, seed)
    assert (predicted_classes(result) == predicted_classes(truth)).all()
    assert checked.sum() >= min(16, samples)


def test_little_noise_costs_little() -> None:
    truth = np.random.default_rng(0).normal(scale=4, size=(1000, 2)).astype(np.float32)
    assert screened(truth, 0.005, 0)[1].sum() < 40
    assert screened(truth, 5.0, 0)[1].all()


def test_the_samples_nearest_to_a_decision_come_first() -> None:
    truth = np.random.default_rng(0).normal(scale=4, size=(300, 3)).astype(np.float32)
    _, checked = screened(truth, 1e-4, 0)
    gaps = top_two_gap(truth)
    assert gaps[checked].max() < gaps[~checked].min() + 1e-2


def test_answers_that_are_not_finite_are_computed_again() -> None:
    truth = np.random.default_rng(0).normal(scale=4, size=(200, 2)).astype(np.float32)
    rough = truth.copy()
    rough[[3, 150], 1] = np.nan, np.inf
    result, checked = corrected(rough, truth)
    assert checked[[3, 150]].all()
    assert (result == truth).all()
    nothing = np.full((200, 2), np.nan, np.float32)
    assert corrected(nothing, nothing)[1].all()
