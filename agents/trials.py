"""Several trainings of one kind: seeds, and hyperparameters of which every combination is tried."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from math import inf
from pathlib import Path
from typing import Any, Literal

from prune_env.agents.train_settings import TrainSettings
from prune_env.env.subjects import data_from_anywhere, from_anywhere
from prune_env.errors import SettingsError
from prune_env.utils.files import read_json, shaped

LONGEST = 100
"""Characters of a name, which is the name of a folder."""


@dataclass(frozen=True)
class Trial:
    """One of several trainings.

    Attributes:
        name: Of its folder.
        settings: What is trained, and how.
    """

    name: str
    settings: TrainSettings


@dataclass(frozen=True)
class TrialResult:
    """What became of a trial.

    Attributes:
        name: Of its folder.
        seed: Of the agent.
        hyperparameters: Changes to the algorithm's own.
        status: `done`, `failed`, or `paused` where a signal came.
        recommended: What to use, see `recommend`: `best` or `best_met`; None if nothing keeps tau.
        reward: What that is paid on all validation sentences; of several models, on average.
        heads_pruned: By it; of several models, on average.
        accuracy: Of it, on all validation sentences; of several models, on average.
        seconds: Of the last call.
        node: Machine of the cluster; empty on this one.
        error: Why it failed.
        signal: Number of the signal that paused it.
        hybrid: Whether it prunes other units beside heads.
    """

    name: str
    seed: int
    hyperparameters: Mapping[str, Any]
    status: str
    recommended: Literal["best", "best_met"] | None = None
    reward: float | None = None
    heads_pruned: float | None = None
    accuracy: float | None = None
    seconds: float | None = None
    node: str = ""
    error: str = ""
    signal: int | None = None
    hybrid: bool = False

    @property
    def rank(self) -> tuple[float, float]:
        """How good it is: what is paid, then accuracy; least where nothing keeps tau."""
        if self.reward is None or self.accuracy is None:
            return -inf, -inf
        return self.reward, self.accuracy


def make_trials(
    base: TrainSettings, seeds: Sequence[int], sweep: Mapping[str, Sequence[Any]]
) -> tuple[Trial, ...]:
    """Return a trial for each seed and each combination of hyperparameters.

    Args:
        base: Of all trials; files that it names are found from any folder afterwards.
        seeds: Of the agents.
        sweep: Values to try, by hyperparameter.

    Raises:
        SettingsError: A seed or a value is there twice, a list is empty, or a hyperparameter is
            given one value and several.
    """
    if both := base.hyperparameters.keys() & sweep.keys():
        raise SettingsError(
            "A hyperparameter is set and swept",
            expected="one value for all trials, or several to try",
            actual=", ".join(sorted(both)),
        )
    arguments = {name: _absolute(name, value) for name, value in base.env_arguments.items()}
    trials = []
    for values in product(*sweep.values()):
        changes = dict(zip(sweep, values, strict=True))
        for seed in seeds:
            parts = [f"{name}={value}" for name, value in changes.items()]
            name = re.sub(r"[^\w.=+-]+", "_", "-".join([*parts, f"seed-{seed}"]))
            settings = replace(
                base,
                env_arguments=arguments,
                seed=seed,
                hyperparameters={**base.hyperparameters, **changes},
            )
            trials.append(Trial(_short(name), settings))
    names = [trial.name for trial in trials]
    if not names or len(set(names)) < len(names):
        raise SettingsError(
            "The trials are not told apart",
            expected="at least one seed, and each seed and value once",
            actual=", ".join(names) or "no trial",
        )
    return tuple(trials)


def result_of(trial: Trial, folder: Path, node: str = "") -> TrialResult | None:
    """Return what a training left in its folder, or None if it has not ended.

    Args:
        trial: The training.
        folder: Its folder.
        node: Machine that ended it.

    Raises:
        StateError: The report is damaged.
    """
    path = folder / "report.json"
    if not path.is_file():
        return None
    report = read_json(path)
    remedy = "restore it, or delete it to have it written again"
    with shaped(path, "the report of a training", remedy):
        if report["interrupted_by_signal"] is not None:
            return None
        recommended = report["recommended"]
        used: list[dict[str, Any]] = []
        if recommended is not None:
            used = report["best"]["models"] if recommended == "best" else [report["best_met"]]
        return TrialResult(
            trial.name,
            trial.settings.seed,
            asdict(trial.settings)["hyperparameters"],
            "done",
            recommended=recommended,
            reward=_mean(used, "total_reward"),
            heads_pruned=_mean(used, "heads_pruned"),
            accuracy=_mean(used, "accuracy"),
            seconds=report["seconds_of_this_call"],
            node=node,
            hybrid=any("units_pruned" in each for each in used),
        )


def without_result(trial: Trial, status: str, **more: Any) -> TrialResult:
    """Return what became of a trial that has no report."""
    changes = asdict(trial.settings)["hyperparameters"]
    return TrialResult(trial.name, trial.settings.seed, changes, status, **more)


def _mean(models: Sequence[Mapping[str, Any]], what: str) -> float | None:
    """Return a figure of one model as it is, of several models on average."""
    figures: list[float] = [each[what] for each in models]
    if len(figures) < 2:
        return figures[0] if figures else None
    return sum(figures) / len(figures)


def _short(name: str) -> str:
    """Return a name of at most `LONGEST` characters; a digest tells apart what begins alike."""
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name[: LONGEST - len(digest) - 1]}-{digest}"


def _absolute(name: str, value: Any) -> Any:
    """Return models and data as they are called from everywhere."""
    if isinstance(value, list | tuple):
        return [_absolute(name, each) for each in value]
    if name == "data" and isinstance(value, str | Mapping):
        return data_from_anywhere(value)
    if name in ("model", "pool") and isinstance(value, str):
        return from_anywhere(name, value)
    return value
