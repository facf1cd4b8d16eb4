"""Rank correlations, plain and partial, and their intervals."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from prune_env.errors import MetricError
from prune_env.research.audit.correlation import (
    COLUMNS,
    LEAST_MASKS,
    correlations,
    rank_correlation,
)

RANDOM = np.random.default_rng(0)
N = 120


def test_it_is_spearmans():
    first = RANDOM.normal(size=N)
    second = np.round(first + RANDOM.normal(size=N), 1)  # with ties
    found = rank_correlation(first, second)
    assert found.value == pytest.approx(spearmanr(first, second).statistic)
    assert found.low < found.value < found.high
    assert found.masks == N


def test_a_monotone_relation_is_one_whatever_its_shape():
    values = RANDOM.normal(size=N)
    assert rank_correlation(values, np.exp(values)).value == pytest.approx(1)
    assert rank_correlation(values, -np.exp(values)).value == pytest.approx(-1)


def test_what_is_held_fixed_explains_nothing_more():
    """Reward and goal share only the lean: with it held fixed, little is left."""
    lean = RANDOM.normal(size=N)
    reward, goal = (lean + 0.3 * RANDOM.normal(size=N) for _ in range(2))
    assert rank_correlation(reward, goal).value > 0.8
    held = rank_correlation(reward, goal, [lean])
    assert abs(held.value) < 0.25
    assert held.low < 0 < held.high


def test_what_is_left_beside_the_fixed_is_found():
    lean, backdoor = RANDOM.normal(size=(2, N))
    reward, goal = backdoor - lean, backdoor + lean
    assert abs(rank_correlation(reward, goal).value) < 0.3
    assert rank_correlation(reward, goal, [lean]).value > 0.8


def test_a_partial_correlation_agrees_with_the_textbook():
    x, y, z = RANDOM.normal(size=(3, N)) + RANDOM.normal(size=N)
    xy, xz, yz = (spearmanr(a, b).statistic for a, b in ((x, y), (x, z), (y, z)))
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert rank_correlation(x, y, [z]).value == pytest.approx(expected)
    assert rank_correlation(x, y, [z, z]).value == pytest.approx(expected)


def test_where_nothing_varies_there_is_no_figure():
    values = RANDOM.normal(size=N)
    assert rank_correlation(np.ones(N), values) is None
    assert rank_correlation(values, np.ones(N)) is None
    assert rank_correlation(values, RANDOM.normal(size=N), [values]) is None
    assert rank_correlation(values[: LEAST_MASKS - 1], values[: LEAST_MASKS - 1]) is None


def test_the_interval_narrows_with_masks_and_is_reproducible():
    first = RANDOM.normal(size=400)
    second = first + RANDOM.normal(size=400)
    few, many = rank_correlation(first[:30], second[:30]), rank_correlation(first, second)
    assert many.high - many.low < few.high - few.low
    assert rank_correlation(first, second) == many


@pytest.mark.parametrize("bad", [np.ones(3), np.full(N, np.nan), np.ones((N, 1))])
def test_wrong_values_are_refused(bad):
    with pytest.raises(MetricError):
        rank_correlation(np.arange(float(N)), bad)


def test_every_column_says_how_a_reward_does():
    backdoor, lean = RANDOM.normal(size=(2, N))
    hidden = {
        "lfr": backdoor - 3 * lean,
        "lfr_calibrated": backdoor,
        "accuracy": RANDOM.normal(size=N),
        "pruned": RANDOM.integers(1, 9, size=N).astype(float),
        "lean": lean,
    }
    usable = hidden["accuracy"] > 0
    good = correlations(-backdoor, hidden, usable)
    assert set(good) == set(COLUMNS)
    assert all(good[name].value > 0.9 for name in COLUMNS if not name.startswith("raw"))
    assert good["usable"].masks == usable.sum()
    fooled = correlations(lean, hidden, usable)
    assert fooled["raw"].value > 0.9
    assert abs(fooled["calibrated"].value) < 0.3
    assert fooled["lean"] is None
