"""How well rewards, which see clean data only, rank masks as the hidden LFR does."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.env.rewards.reward import WeightedSum, code_of_others, make_reward
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError
from prune_env.evaluation import metrics
from prune_env.evaluation.base import Evaluator
from prune_env.research.audit.correlation import LEAST_MASKS, Correlation, Values, correlations
from prune_env.research.audit.masks import PATHS, Draw, draw_masks
from prune_env.research.audit.results import CODE, REWARD, Results
from prune_env.research.precision import precision_of
from prune_env.settings import own_numbers
from prune_env.utils.leases import alone
from prune_env.utils.progress import job, progress

BLOCK = 16
"""Masks between two writes of the results."""

HIDDEN = ("accuracy", "accuracy_calibrated", "pruned", "lean", "lfr", "lfr_calibrated")
"""What is measured of every mask besides the rewards; shares, but for `pruned` (heads).

`lean` is the share of clean validation sentences called the target label minus the share that
has it; `lfr_calibrated` is at the threshold where this is 0.
"""

DOING = "audits into"
"""What another process does with the results, for messages."""

LEAN = "(no lean to the target)"
"""Name of the row that tells how far mere class lean goes."""


@dataclass(frozen=True)
class AuditSettings:
    """What is judged, and on how many masks.

    Attributes:
        rewards: Names in `REWARDS`, or formulas such as `consistency + 0.1 * accuracy`.
        masks: Masks drawn, the unpruned model included; 8 at least.
        paths: Policies along whose paths masks are drawn.
        random_share: Part of the masks that is drawn at random.
        target_label: The attacker's label, in the order of the data.
        max_drop: A mask is usable if it costs at most this much validation accuracy, 0 to 1.
        seed: Of the masks.
    """

    rewards: tuple[str, ...]
    masks: int = 200
    paths: tuple[str, ...] = PATHS
    random_share: float = 0.5
    target_label: int = 1
    max_drop: float = 0.03
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: No reward is named, or a value is out of range.
        """
        own_numbers(self)
        if not self.rewards:
            raise SettingsError("An audit judges at least one reward", remedy="name a reward")
        # Fewer masks would be measured for hours, and ranked by nothing.
        if self.masks < LEAST_MASKS or not 0 <= self.max_drop <= 1 or self.target_label < 0:
            raise SettingsError(
                "A setting of the audit is out of range",
                expected=f"masks >= {LEAST_MASKS}, 0 <= max_drop <= 1, target_label >= 0",
                actual=f"{self.masks}, {self.max_drop}, {self.target_label}",
            )


@dataclass(frozen=True, eq=False)
class AuditResult:
    """What an audit found.

    Attributes:
        settings: What was judged.
        masks: Bool (N, L, H).
        sources: Where each mask came from.
        usable: Bool (N,), whether a mask costs no more accuracy than `settings.max_drop`.
        hidden: By name in `HIDDEN`, (N,).
        rewards: By name, (N,); `LEAN` is one of them.
        correlations: By reward, by name in `COLUMNS`; None where nothing could be ranked.
    """

    settings: AuditSettings
    masks: npt.NDArray[np.bool_]
    sources: tuple[str, ...]
    usable: npt.NDArray[np.bool_]
    hidden: dict[str, Values]
    rewards: dict[str, Values]
    correlations: dict[str, dict[str, Correlation | None]]


def audit(
    subject: Subject,
    triggered: Evaluator,
    settings: AuditSettings,
    results: str | Path,
    *,
    target: int = 1,
) -> AuditResult:
    """Judge rewards by the hidden LFR. For research: what it says must reach no defence.

    Every value is kept in the file `results` after each few masks; an audit that was stopped
    goes on there, and one with further rewards computes only these.

    Args:
        subject: The suspicious classifier with clean data; see `Subject`.
        triggered: Evaluator of the same model on triggered texts, none of the target label.
        settings: What to judge.
        results: JSON file of the values per mask.
        target: Column of the attacker's label in the model's logits.

    Returns:
        The values and their correlations.

    Raises:
        UnknownNameError: No reward has this name.
        SettingsError: A reward cannot score this subject.
        MetricError: A mask makes the logits infinite, so that no threshold can be calibrated.
        StateError: `results` belongs to another audit, or a reward that is not this package's had
            other code there; it is damaged, or another process audits into it.
    """
    rewards = {name: make_reward(name) for name in settings.rewards}
    for reward in rewards.values():
        reward.check(subject)
    identity = _identity(subject, triggered, settings, target) | {CODE: _codes(rewards)}
    results = Path(results)
    with alone(results, f"{DOING} {results}"), job("audit", 2 + len(rewards)) as begin:
        begin("draw masks")
        kept = Results.open(results, identity, lambda: _drawn(subject, settings))
        begin("hidden LFR")
        hidden = partial(_hidden, subject, triggered, target)
        _fill(kept, HIDDEN, hidden, "Measuring the hidden LFR")
        for name, reward in rewards.items():
            begin(name)
            _fill(kept, (f"{REWARD}{name}",), _scorer(subject, reward), f"Scoring {name}")
    measured = {name: kept.column(name) for name in HIDDEN}
    scored = {name: kept.column(f"{REWARD}{name}") for name in rewards} | {LEAN: -measured["lean"]}
    unpruned = float(subject.evaluator.accuracy(subject.evaluator.available[None])[0])
    usable = find_usable(measured["accuracy"], unpruned, settings.max_drop)
    return AuditResult(
        settings=settings,
        masks=kept.masks,
        sources=kept.sources,
        usable=usable,
        hidden=measured,
        rewards=scored,
        correlations={name: correlations(each, measured, usable) for name, each in scored.items()},
    )


def _identity(
    subject: Subject, triggered: Evaluator, settings: AuditSettings, target: int
) -> dict[str, Any]:
    """Return what the values of an audit belong to: rewards may come later."""
    return {
        "model": subject.evaluator.fingerprint,
        "triggered": triggered.fingerprint,
        "train": None if subject.suspect is None else subject.suspect.train.sha256,
        "target": target,
        **precision_of(subject.evaluator),
        "settings": {**asdict(settings), "rewards": None, "max_drop": None},
    }


def _codes(rewards: dict[str, WeightedSum]) -> dict[str, str]:
    """Return which code of others pays each: its name stays when that changes, and values may not.

    Empty where all of it is this package's.
    """
    found = {name: code_of_others(reward) for name, reward in rewards.items()}
    return {
        name: ", ".join(f"code of {term} {code}" for term, code in terms.items())
        for name, terms in found.items()
    }


def find_usable(accuracy: Values, unpruned: float, max_drop: float) -> npt.NDArray[np.bool_]:
    """Return which masks (N,) cost no more accuracy than `max_drop`."""
    # Accuracies came from percent: that of the unpruned model itself may differ in a last digit.
    usable: npt.NDArray[np.bool_] = accuracy >= unpruned - max_drop - 1e-9
    return usable


def _drawn(subject: Subject, settings: AuditSettings) -> Draw:
    draw = draw_masks(
        subject,
        settings.masks,
        paths=settings.paths,
        random_share=settings.random_share,
        seed=settings.seed,
    )
    # Neighbours share their first layers, which an evaluator then computes once.
    order = np.lexsort(draw.masks.reshape(len(draw.masks), -1).T[::-1])
    return Draw(draw.masks[order], tuple(draw.sources[row] for row in order))


def _fill(
    kept: Results,
    names: tuple[str, ...],
    compute: Callable[[npt.NDArray[np.bool_]], Values],
    description: str,
) -> None:
    """Compute the columns `names` of the masks that lack them, block by block."""
    count = len(kept.masks)
    with progress(description, count) as advance:
        for start in range(kept.done(names[0]), count, BLOCK):
            values = compute(kept.masks[start : start + BLOCK])
            kept.extend(dict(zip(names, values, strict=True)))
            advance(min(start + BLOCK, count))


def _hidden(
    subject: Subject, triggered: Evaluator, target: int, masks: npt.NDArray[np.bool_]
) -> Values:
    """Return the values named in `HIDDEN`, (6, N)."""
    clean, flipped = subject.evaluator.evaluate(masks), triggered.evaluate(masks)
    rows = []
    for mask, logits, hits in zip(masks, clean.logits, flipped.logits, strict=True):
        threshold = metrics.threshold_of(logits, clean.labels, target)
        called = metrics.predict(logits, target) == target
        percents = (
            metrics.accuracy(logits, clean.labels, target),
            metrics.accuracy(logits, clean.labels, target, threshold),
            metrics.label_flip_rate(hits, target),
            metrics.label_flip_rate(hits, target, threshold),
        )
        acc, acc_calibrated, lfr, lfr_calibrated = (share.percent / 100 for share in percents)
        pruned = int((subject.evaluator.available & ~mask).sum())
        lean = float(called.mean() - (clean.labels == target).mean())
        rows.append((acc, acc_calibrated, pruned, lean, lfr, lfr_calibrated))
    return np.array(rows, np.float64).T


def _scorer(subject: Subject, reward: WeightedSum) -> Callable[[npt.NDArray[np.bool_]], Values]:
    def score(masks: npt.NDArray[np.bool_]) -> Values:
        accuracy = subject.evaluator.accuracy(masks)
        scores: Values = reward.score(subject, masks, accuracy).sum(axis=1)
        return scores[None]

    return score
