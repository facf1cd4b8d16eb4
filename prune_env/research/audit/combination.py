"""Rewards combined with weights that are learned on audits of simulated backdoors.

Each reward sees something else. Who plants backdoors in models of their own knows their hidden
LFR, and can fit weights under which the sum of rewards ranks masks as that LFR does. What is
learned holds for backdoors that were not learned from only if it is judged on such: audits of
another family of triggers, whose rewards know nothing of it either.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from prune_env.errors import MetricError, SettingsError
from prune_env.research.audit.audit import HIDDEN, find_usable
from prune_env.research.audit.correlation import (
    Correlation,
    Values,
    correlations,
    rank_correlation,
)
from prune_env.research.audit.results import Results

PENALTIES = (0.01, 0.1, 1.0, 10.0)
"""Ridge penalties that are tried, in units of the variance of a reward."""

LEAST_SPREAD = 0.05
"""Calibrated LFR, 0 to 1, over which the masks of an audit must spread to teach anything."""

DIGITS = 3
"""Significant digits of a weight: an audit of some dozens of masks supports no more."""


@dataclass(frozen=True)
class Combination:
    """A weighted sum of rewards.

    Attributes:
        weights: By reward, what one unit of it counts.
        penalty: The ridge penalty that was chosen.
    """

    weights: dict[str, float]
    penalty: float

    @property
    def formula(self) -> str:
        """The sum as `make_reward` and `--reward` read it."""
        return " + ".join(f"{weight!r} * {name}" for name, weight in self.weights.items())

    def values(self, audit: Results) -> Values:
        """Return the sum (N,) for the masks of an audit."""
        rewards = audit.rewards
        columns = [weight * rewards[name] for name, weight in self.weights.items()]
        total: Values = np.sum(columns, axis=0)
        return total


@dataclass(frozen=True)
class Judgement:
    """How a combination ranks the masks of an audit that it was not learned from.

    Attributes:
        combination: What was judged.
        alone: The reward that ranked best, alone, in the audits that were learned from.
        best: The reward that ranks best, alone, in the audit judged: known only afterwards.
        correlations: Of the combination, by name in `COLUMNS`; None where nothing was to rank.
        of_alone: Likewise of `alone`.
        of_best: Likewise of `best`.
    """

    combination: Combination
    alone: str
    best: str
    correlations: dict[str, Correlation | None]
    of_alone: dict[str, Correlation | None]
    of_best: dict[str, Correlation | None]


def shared_rewards(audits: Sequence[Results]) -> tuple[str, ...]:
    """Return the rewards, but no formulas, that every audit has computed of all its masks."""
    shared = set(audits[0].rewards).intersection(*(audit.rewards for audit in audits))
    return tuple(name for name in audits[0].rewards if name in shared and _is_name(name))


def learnable(audit: Results) -> bool:
    """Whether the hidden LFR of an audit spreads enough for anything to be learned from it."""
    return bool(np.ptp(audit.column("lfr_calibrated")) >= LEAST_SPREAD)


def combine(audits: Sequence[Results], rewards: Sequence[str]) -> Combination:
    """Learn how rewards are to be weighed.

    Ridge regression of the ranks of the calibrated LFR, lowest best, on the rewards. Both are
    taken within each audit: models differ in how far their LFR can fall at all. The penalty is
    the one whose combinations rank best an audit that was left out, each in turn.

    Args:
        audits: Of models whose backdoors are known.
        rewards: Names of the rewards that may be used.

    Returns:
        The weights; a reward that does not vary has none.

    Raises:
        SettingsError: An audit lacks a reward, or there is nothing to learn from.
        MetricError: A value is not finite.
    """
    _check(audits, rewards)
    audits = [each for each in audits if learnable(each)]
    if not audits:
        raise SettingsError(
            "There is nothing to learn from",
            expected=f"an audit whose calibrated LFR spreads over {100 * LEAST_SPREAD:g} points",
            remedy="audit a model whose backdoor some masks remove",
        )

    def quality(penalty: float) -> float:
        left_out = []
        for number, audit in enumerate(audits):
            others = [*audits[:number], *audits[number + 1 :]]
            found = _rank(_fit(others, rewards, penalty).values(audit), audit)
            left_out.append(found.value if found else 0.0)
        return float(np.mean(left_out))

    penalty = max(PENALTIES, key=quality) if len(audits) > 1 else 1.0
    return _fit(audits, rewards, penalty)


def check_max_drop(max_drop: float) -> None:
    """Raise a `SettingsError` unless it is an accuracy, 0 to 1."""
    if not 0 <= max_drop <= 1:
        raise SettingsError("max_drop is out of range", expected="0 to 1", actual=max_drop)


def judge(
    learned_from: Sequence[Results],
    judged: Results,
    rewards: Sequence[str],
    *,
    max_drop: float = 0.03,
) -> Judgement:
    """Learn a combination on some audits, and judge it on another.

    Args:
        learned_from: Of models whose backdoors are known.
        judged: Of a model with another backdoor.
        rewards: Names of the rewards that may be used.
        max_drop: A mask is usable if it costs at most this much validation accuracy, 0 to 1.

    Raises:
        SettingsError: An audit lacks a reward, there is nothing to learn from, or `max_drop` is
            out of range.
        MetricError: A value is not finite.
    """
    check_max_drop(max_drop)
    _check([judged], rewards)
    combination = combine(learned_from, rewards)
    hidden = {name: judged.column(name) for name in HIDDEN}
    whole = hidden["accuracy"][hidden["pruned"] == 0]
    usable = find_usable(hidden["accuracy"], float(whole.max(initial=0)), max_drop)

    def correlated(values: Values) -> dict[str, Correlation | None]:
        return correlations(values, hidden, usable)

    def ranks(name: str, audits: Sequence[Results]) -> float:
        found = [_rank(audit.rewards[name], audit) for audit in audits]
        return float(np.mean([each.value if each else 0.0 for each in found]))

    alone = max(rewards, key=lambda name: ranks(name, learned_from))
    best = max(rewards, key=lambda name: ranks(name, [judged]))
    return Judgement(
        combination=combination,
        alone=alone,
        best=best,
        correlations=correlated(combination.values(judged)),
        of_alone=correlated(judged.rewards[alone]),
        of_best=correlated(judged.rewards[best]),
    )


def _check(audits: Sequence[Results], rewards: Sequence[str]) -> None:
    """Raise an error unless every audit has finite values of every reward and the hidden LFR."""
    if not audits or not rewards:
        told = [f"{audit.path}: {', '.join(audit.rewards) or 'none'}" for audit in audits]
        raise SettingsError(
            "A combination is learned from audits and rewards",
            expected="at least one of each; every audit has the rewards of all its masks",
            actual="; ".join(told) or "no audit",
            remedy="run `prune-env audit` there with equal --rewards, also if it was interrupted",
        )
    formulas = [name for name in rewards if not _is_name(name)]
    if formulas:
        raise SettingsError(
            "A formula cannot be weighed again",
            expected="names of rewards",
            actual=", ".join(formulas),
            remedy="audit its rewards one by one",
        )
    for audit in audits:
        held = audit.rewards
        lacking = [name for name in rewards if name not in held]
        if lacking or any(audit.done(name) < len(audit.masks) for name in HIDDEN):
            raise SettingsError(
                f"{audit.path} lacks what is to be combined",
                expected=", ".join(rewards),
                actual=", ".join(held) or "no reward of all its masks",
                remedy="run `prune-env audit` there with these --rewards, or name fewer",
            )
        if not all(np.isfinite(held[name]).all() for name in rewards):
            raise MetricError(f"{audit.path} holds a reward that is not finite")


def _is_name(reward: str) -> bool:
    """Whether a column is of a single reward, and not of a formula."""
    return re.fullmatch(r"[a-z][\w-]*", reward, re.IGNORECASE) is not None


def _rank(values: Values, audit: Results) -> Correlation | None:
    return rank_correlation(values, -audit.column("lfr_calibrated"), samples=1)


def _fit(audits: Sequence[Results], rewards: Sequence[str], penalty: float) -> Combination:
    """Return the ridge regression over all masks, each audit centred and counting alike."""
    inputs, goals = [], []
    for audit in audits:
        held = audit.rewards
        values = np.stack([held[name] for name in rewards], axis=1)
        ranks = rankdata(-audit.column("lfr_calibrated"))
        root = np.sqrt(len(ranks))
        inputs.append((values - values.mean(axis=0)) / root)
        goals.append((ranks - ranks.mean()) / (ranks.std() * root))
    table, goal = np.concatenate(inputs), np.concatenate(goals)
    scale = np.sqrt((table**2).sum(axis=0) / len(audits))  # of a reward, within an audit
    varies = scale > 1e-9
    if not varies.any():
        raise SettingsError(
            "There is nothing to combine",
            expected="a reward that differs from mask to mask",
            actual=", ".join(rewards),
            remedy="name other --rewards",
        )
    table = table[:, varies] / scale[varies]
    covariance = table.T @ table / len(audits)
    solved = np.linalg.solve(
        covariance + penalty * np.eye(len(covariance)), table.T @ goal / len(audits)
    )
    names = np.array(rewards)[varies]
    weights = {
        str(name): float(f"{weight:.{DIGITS}g}")
        for name, weight in zip(names, solved / scale[varies], strict=True)
    }
    return Combination(weights, penalty)
