"""How strongly a model's maps may be refitted: the most that its answers to clean rows bear."""

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prune_env.models.forward import Floats
from prune_env.models.ridge import RidgeMap
from prune_env.purification.judge import Judge

USUAL = 0.23
"""Strength that is tried first: near what MiniLM bears of a first refit on SST-2 (0.16 to 0.32)."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """What was written into the maps.

    Attributes:
        strength: lambda over the mean variance of a map's inputs; 0 where none is borne.
        shares: Of each map, the share of its squared norm that stays.
        logits: Answers (N, C) to the clean rows since then; None where nothing was changed.
    """

    strength: float
    shares: tuple[float, ...]
    logits: Floats | None


def fit_strongest(
    maps: Sequence[RidgeMap],
    strengths: Sequence[float],
    rows: Judge,
    *,
    before: float,
    least: float,
    advance: Callable[[int], None],
) -> Fitted:
    """Fit maps, in place, with the largest strength that leaves so much separation.

    What a strength costs grows about as it does itself, so one trial tells where to go on: of 17
    strengths three are tried, where halving tries four or five.

    Args:
        maps: Of the model.
        strengths: What is tried, ascending.
        rows: Clean rows that the model, as it is at the time, is asked.
        before: Separation on them that is lost from, 0 to 1.
        least: Separation that must stay.
        advance: Told of how many strengths it is known whether they are borne.
    """
    found = Fitted(0.0, (1.0,) * len(maps), None)
    tried, low, high = 0.0, 0, len(strengths)
    place = bisect.bisect(strengths, USUAL) - 1
    while low < high:
        place = min(max(place, low), high - 1)
        tried = strengths[place]
        shares = tuple(each.fit(tried) for each in maps)
        logits = rows.logits()
        left = rows.separation(logits)
        if left >= least:
            found, low = Fitted(tried, shares, logits), place + 1
        else:
            high = place
        advance(len(strengths) - (high - low))
        place = (low + high) // 2
        if left < before:
            bearable = tried * (before - least) / (before - left)
            place = bisect.bisect(strengths, bearable) - 1
    if found.strength != tried:
        for each in maps:
            each.fit(found.strength)
    return found
