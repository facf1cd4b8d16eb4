"""A suite: frozen games, each with its model, rules, reward and budget."""

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prune_env.errors import SettingsError, UnknownNameError
from prune_env.settings import SearchSettings
from prune_env.utils.plain import from_plain

SUITES = Path(__file__).parent / "suites"
TIERS = ("landscape", "tiny", "recorded", "minilm")
QUICK = ("landscape", "tiny", "recorded")
"""Tiers that need no model of real size."""


@dataclass(frozen=True)
class ScoredTask:
    """One game.

    Attributes:
        name: Of the game, unique in its suite.
        tier: One of `TIERS`.
        env: Id of the environment that plays it.
        model: What it plays, a ready-made name.
        reward: What is paid; reads no trigger.
        budget: Distinct masks that may be asked for.
        tau: Least validation accuracy; None takes that of the unpruned model minus `max_drop`.
        max_drop: Accuracy that may be lost where tau is None.
        record: SHA-256 of the recorded model; None where the model is not recorded.
    """

    name: str
    tier: str
    env: str
    model: str
    reward: str
    budget: int
    tau: float | None = None
    max_drop: float = 0.03
    record: str | None = None

    def __post_init__(self) -> None:
        """Check the tier and the ranges.

        Raises:
            UnknownNameError: There is no such tier.
            SettingsError: A value is out of range.
        """
        if self.tier not in TIERS:
            raise UnknownNameError("tier", self.tier, TIERS, "prune-env score --help")
        self.search  # noqa: B018 - it checks

    @property
    def search(self) -> SearchSettings:
        """The rules, as a search takes them."""
        return SearchSettings(
            tau=self.tau, max_drop=self.max_drop, reward=self.reward, budget=self.budget
        )

    def arguments(self, metrics: Sequence[str]) -> dict[str, Any]:
        """Return the arguments of `gym.make(task.env, ...)` that play this game."""
        return {
            "model": self.model,
            "metrics": tuple(metrics),
            "reward": self.reward,
            "tau": self.tau,
            "max_drop": self.max_drop,
        }


@dataclass(frozen=True)
class Suite:
    """Games, and the seeds with which each is played.

    Attributes:
        version: Name of the suite.
        seeds: Of policies; each game is played once with each.
        tasks: The games.
    """

    version: str
    seeds: tuple[int, ...]
    tasks: tuple[ScoredTask, ...]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all that the suite says."""
        plain = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(plain.encode()).hexdigest()

    @property
    def quick(self) -> tuple[str, ...]:
        """The tiers that need no model of real size, of those that have a game."""
        return tuple(tier for tier in QUICK if any(task.tier == tier for task in self.tasks))

    def tasks_of(self, tiers: Sequence[str]) -> list[ScoredTask]:
        """Return the games of some tiers, in order.

        Raises:
            UnknownNameError: There is no such tier.
            SettingsError: A tier has no game in this suite, or none is named.
        """
        if not tiers:
            raise SettingsError("No tier is named", expected=f"some of {', '.join(TIERS)}")
        for tier in tiers:
            if tier not in TIERS:
                raise UnknownNameError("tier", tier, TIERS, "prune-env score --help")
            if not any(task.tier == tier for task in self.tasks):
                raise SettingsError(f"The suite {self.version} has no game of the tier {tier}")
        return [task for task in self.tasks if task.tier in tiers]


def read_suite(version: str) -> Suite:
    """Return a suite that comes with the package.

    Raises:
        UnknownNameError: There is none of this name.
    """
    known = {path.stem: path for path in SUITES.glob("*.toml")}
    if version not in known:
        raise UnknownNameError("suite", version, known, "prune-env score --help")
    content = tomllib.loads(known[version].read_text("utf-8"))
    return from_plain(Suite, content, f"the suite {version}")
