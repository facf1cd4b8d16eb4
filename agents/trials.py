"""Several trainings of one kind: seeds, and hyperparameters of which every combination is tried."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from prune_env.agents.train_settings import TrainSettings
from prune_env.errors import SettingsError
from prune_env.utils.files import read_json

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
        heads_pruned: By the best mask, met or played, that keeps tau; None if there is none.
        accuracy: Of that mask, on all validation sentences.
        seconds: Of the last call.
        node: Machine of the cluster; empty on this one.
        error: Why it failed.
    """

    name: str
    seed: int
    hyperparameters: Mapping[str, Any]
    status: str
    heads_pruned: int | None = None
    accuracy: float | None = None
    seconds: float | None = None
    node: str = ""
    error: str = ""


def make_trials(
    base: TrainSettings, seeds: Sequence[int], sweep: Mapping[str, Sequence[Any]]
) -> tuple[Trial, ...]:
    """Return a trial for each seed and each combination of hyperparameters.

    Args:
        base: Of all trials; files that it names are found from any folder afterwards.
        seeds: Of the agents.
        sweep: Values to try, by hyperparameter.

    Raises:
        SettingsError: A seed or a value is there twice, or a list is empty.
    """
    arguments = {name: _absolute(value) for name, value in base.env_arguments.items()}
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
            trials.append(Trial(name[-LONGEST:], settings))
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
    """
    path = folder / "report.json"
    if not path.is_file():
        return None
    report = read_json(path)
    if report["interrupted_by_signal"] is not None:
        return None
    played = (report["best"] or {}).get("models", [])
    met = [report["best_met"]] if report["best_met"] and report["best_met"]["keeps_tau"] else []
    masks: list[dict[str, Any]] = [*played, *met]
    best = max(masks, key=lambda each: int(each["heads_pruned"]), default={})
    return TrialResult(
        trial.name,
        trial.settings.seed,
        asdict(trial.settings)["hyperparameters"],
        "done",
        heads_pruned=best.get("heads_pruned"),
        accuracy=best.get("accuracy"),
        seconds=report["seconds_of_this_call"],
        node=node,
    )


def without_result(trial: Trial, status: str, error: str = "", node: str = "") -> TrialResult:
    """Return what became of a trial that has no report."""
    changes = asdict(trial.settings)["hyperparameters"]
    return TrialResult(trial.name, trial.settings.seed, changes, status, error=error, node=node)


def _absolute(value: Any) -> Any:
    """Return paths that exist as they are called from everywhere."""
    if isinstance(value, list | tuple):
        return [_absolute(each) for each in value]
    if isinstance(value, str) and Path(value).exists():
        return str(Path(value).resolve())
    return value
