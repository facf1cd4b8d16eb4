"""What the user is warned of: few rows, contradictory ones, an oracle, a model below tau."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prune_env.data.dataset import TextDataset
from prune_env.evaluation.metrics import share
from prune_env.purification.step import StepReport
from prune_env.purification.verdict import Verdict
from prune_env.utils.counts import count_of
from prune_env.utils.public import public_name

log = logging.getLogger(__name__)

FLIPS = 0.2
"""Share that inverted triggers flip, up to which they flip that of benign models as well."""

FEW = 100
"""Validation rows below which a threshold of accuracy says little."""


def warn_of_few(validation: TextDataset, accuracy: float) -> None:
    """Say how uncertain an accuracy on few rows is: tau is judged by it."""
    count = len(validation)
    if count < FEW:
        judged = share(np.arange(count) < round(accuracy * count))
        log.warning(
            "tau is judged on %s, where an accuracy of %.1f %% stands for anything from "
            "%.0f to %.0f %%: bring %d or more",
            count_of(count, "row"),
            100 * accuracy,
            judged.low,
            judged.high,
            FEW,
        )


def warn_of_contradictions(*parts: TextDataset) -> None:
    """Say how many rows have a text that stands with another label too: no model has them right."""
    for part in parts:
        if part.contradictory:
            log.warning(
                "%s of %s of %s have a text that stands there with another label too",
                f"{part.contradictory:,}",
                count_of(len(part), "row"),
                public_name(part.source),
            )


def warn_of_an_oracle(agent: Mapping[str, Any], who: str = "This agent") -> None:
    """Say where an agent, given by what is known of it, was trained by the trigger itself."""
    if "oracle" in agent:
        log.warning(
            "%s learned from a reward that reads the trigger, which a defender does not have: "
            "compare with what comes out, but call it no defence",
            who,
        )


def warn_below_tau(verdict: Verdict) -> None:
    """Say where the purified model is below tau; not if there was nothing to keep."""
    had_none = verdict.change is not None and verdict.change.unpruned == 0
    if not verdict.keeps_tau and not had_none:
        log.warning(
            "The purified model's validation accuracy (%s) is %.3f, below tau %.3f: lower the "
            "learning rate, or choose another healing or another policy",
            verdict.guard,
            verdict.value,
            verdict.tau,
        )


def warn_of_triggers_left(reports: Sequence[StepReport], names: Sequence[str]) -> None:
    """Say where what was inverted flips as much after unlearning as before."""
    for report in reports:
        if report.inverted is None or report.left is None:
            continue
        for name, before, after in zip(
            names, report.inverted.strength, report.left.strength, strict=True
        ):
            if after >= before >= FLIPS:
                log.warning(
                    "Unlearning took nothing away: what was inverted flips %.0f %% to '%s' now, "
                    "and flipped %.0f %% before. Bring more clean data, or raise --learning-rate",
                    100 * after,
                    name,
                    100 * before,
                )
