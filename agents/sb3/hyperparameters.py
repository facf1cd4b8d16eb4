"""Hyperparameters by algorithm and environment, from one readable YAML file per algorithm."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from stable_baselines3.common.utils import LinearSchedule

from prune_env.agents.sb3.ranges import check_ranges
from prune_env.errors import SettingsError

FOLDER = Path(__file__).parent / "settings"
OURS = {"num_envs", "width"}
RESERVED = {
    "self", "policy", "env", "seed", "device", "verbose", "tensorboard_log", "policy_kwargs",
    "_init_setup_model", "stats_window_size", "replay_buffer_class", "rollout_buffer_class",
    "replay_buffer_kwargs", "rollout_buffer_kwargs", "optimize_memory_usage", "use_sde",
    "sde_sample_freq",
}  # fmt: skip


def load_hyperparameters(
    algorithm: str, model_class: type, env_id: str | None, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an algorithm's hyperparameters.

    The file's section `default` holds for every environment; a section named by an id changes
    some of them. A schedule is written `{start: 0.001, end: 0.0}` and falls linearly over the
    training.

    Args:
        algorithm: Name of the file.
        model_class: Class of Stable-Baselines3 that takes them.
        env_id: Section to start from, if the file has it.
        changes: What the user wants otherwise.

    Raises:
        SettingsError: A name is not known to the algorithm, or a value is not in its range.
    """
    sections = yaml.safe_load((FOLDER / f"{algorithm}.yaml").read_text("utf-8"))
    merged = {**sections["default"], **sections.get(env_id, {}), **changes}
    remedy = f"see {FOLDER / algorithm}.yaml"
    known = (set(inspect.signature(model_class).parameters) - RESERVED) | OURS
    unknown = sorted(set(merged) - known)
    if unknown:
        raise SettingsError(
            f"{algorithm} has no hyperparameter {', '.join(unknown)}",
            expected=f"some of {', '.join(sorted(known))}",
            remedy=remedy,
        )
    check_ranges(algorithm, merged, remedy)
    return merged


def build_arguments(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the Stable-Baselines3 class, with schedules as functions."""
    return {
        name: _schedule(value) if isinstance(value, Mapping) else value
        for name, value in hyperparameters.items()
        if name not in OURS
    }


def _schedule(ends: Mapping[str, float]) -> LinearSchedule:
    return LinearSchedule(float(ends["start"]), float(ends["end"]), end_fraction=1.0)
