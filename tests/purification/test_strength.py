"""How strongly maps may be refitted: what is found, and in how few trials."""

from collections.abc import Callable
from typing import cast

import numpy as np
import pytest

from prune_env.models.forward import Floats
from prune_env.models.ridge import RidgeMap
from prune_env.purification.judge import Judge
from prune_env.purification.refit import STRENGTHS
from prune_env.purification.strength import Fitted, fit_strongest

BEFORE = 0.95


class Map:
    """A map that remembers how it was fitted last."""

    def __init__(self) -> None:
        self.fits: list[float] = []

    def fit(self, strength: float) -> float:
        self.fits.append(strength)
        return 1 / (1 + strength)


class Rows:
    """Clean rows whose separation falls by a curve over the strength that a map has."""

    def __init__(self, of: Map, cost: Callable[[float], float]) -> None:
        self._of, self._cost = of, cost

    def logits(self) -> Floats:
        return np.full((1, 1), self._cost(self._of.fits[-1]), np.float32)

    def separation(self, logits: Floats) -> float:
        return BEFORE - float(logits[0, 0])


def found(cost: Callable[[float], float], bound: float) -> tuple[Fitted, list[float], list[int]]:
    """Return what is found where that much may be lost, what was tried, and what was told."""
    one, told = Map(), list[int]()
    maps, rows = cast(list[RidgeMap], [one]), cast(Judge, Rows(one, cost))
    fitted = fit_strongest(
        maps, STRENGTHS, rows, before=BEFORE, least=BEFORE - bound, advance=told.append
    )
    return fitted, one.fits, told


CURVES: dict[str, Callable[[float], float]] = {
    "in proportion": lambda strength: 0.05 * strength,
    "slowly": lambda strength: 0.03 * strength**0.6,
    "steeply": lambda strength: 0.2 * strength**2.5,
    "after a rise": lambda strength: 0.1 * strength - 0.01,
    "at once": lambda strength: 0.4 if strength > 0.5 else 0.0,
    "nothing": lambda _: -0.002,
    "all": lambda _: 0.5,
}


@pytest.mark.parametrize("bound", [0.0011, 0.0074, 0.0151, 0.031])
@pytest.mark.parametrize("curve", CURVES)
def test_the_largest_strength_that_is_borne(curve: str, bound: float) -> None:
    cost = CURVES[curve]
    borne = [each for each in STRENGTHS if np.float32(cost(each)) <= bound]
    fitted, tried, told = found(cost, bound)
    assert fitted.strength == (borne[-1] if borne else 0.0)
    assert tried[-1] == fitted.strength
    assert told == sorted(told)
    assert told[-1] == len(STRENGTHS)
    assert len(set(tried[: len(told)])) == len(told)  # none is tried twice
    if borne:
        assert fitted.logits is not None
        assert fitted.logits[0, 0] == np.float32(cost(fitted.strength))
        assert fitted.shares == (1 / (1 + fitted.strength),)
    else:
        assert (fitted.logits, fitted.shares) == (None, (1.0,))


# What separation lost at each strength, on 640 rows of SST-2: HiddenKiller and poetry after
# fine-tuning, poetry after the first refit was mended.
MEASURED = (
    (0, 0, 0, 0, 2, 11, 31, 50, 87, 126, 188, 260, 348, 439, 554, 672, 777),
    (-18, -23, -32, -36, -38, -37, -36, -19, 11, 72, 148, 232, 347, 476, 616, 771, 894),
    (5, 4, 6, 8, 8, 10, 12, 16, 25, 35, 56, 80, 114, 163, 231, 315, 414),
)


def test_three_trials_do_where_halving_takes_more() -> None:
    trials = []
    for curve in MEASURED:
        costs = dict(zip(STRENGTHS, np.array(curve) / 1e4, strict=True)).__getitem__
        for bound in (0.0075, 0.0115, 0.0131, 0.015):
            fitted, _, told = found(costs, bound)
            assert fitted.strength == max(each for each in STRENGTHS if costs(each) <= bound)
            trials.append(len(told))
    assert np.mean(trials) <= 3  # halving: 4.2
    assert max(trials) <= 4
