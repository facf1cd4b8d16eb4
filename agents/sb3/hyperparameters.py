"""Hyperparameters by algorithm and environment, from one readable YAML file per algorithm."""

import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml  # type: ignore[import-untyped]
from stable_baselines3.common.utils import LinearSchedule

from prune_env.errors import SettingsError


class Range(NamedTuple):
    """The values that a hyperparameter may have.

    Attributes:
        words: The range as a user reads it.
        holds: Whether a value is in it.
    """

    words: str
    holds: Callable[[Any], bool]


def check_ranges(algorithm: str, hyperparameters: Mapping[str, Any], remedy: str) -> None:
    """Refuse values that an algorithm cannot learn with.

    Args:
        algorithm: Whose they are, for the message.
        hyperparameters: By name; schedules as `{"start": a, "end": b}`.
        remedy: What the user can do.

    Raises:
        SettingsError: A value is of another type or out of range, or two contradict each other.
    """
    for name, value in hyperparameters.items():
        if not RANGES[name].holds(value):
            raise SettingsError(
                f"{name} of {algorithm}",
                expected=RANGES[name].words,
                actual=repr(value),
                remedy=remedy,
            )
    batch, held = (hyperparameters.get(name) for name in ("batch_size", "buffer_size"))
    if batch and held and held < batch:
        raise SettingsError(
            f"buffer_size of {algorithm} is below its batch_size",
            expected=f"an int >= {batch}",
            actual=held,
            remedy=remedy,
        )
    rollout = hyperparameters["num_envs"] * hyperparameters.get("n_steps", 1)
    if hyperparameters.get("normalize_advantage") and min(rollout, batch or rollout) < 2:
        raise SettingsError(
            f"normalize_advantage of {algorithm} takes more than one step at a time",
            expected="num_envs * n_steps >= 2, and batch_size >= 2",
            actual=f"num_envs * n_steps = {rollout}, batch_size = {batch}",
            remedy=remedy,
        )


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_int(value) or (isinstance(value, float) and math.isfinite(value))


def _is_schedule(value: Any) -> bool:
    if not isinstance(value, Mapping) or set(value) != {"start", "end"}:
        return False
    start, end = value["start"], value["end"]
    return _is_number(start) and _is_number(end) and start > 0 and end >= 0


COUNT = Range("an int >= 1", lambda value: _is_int(value) and value >= 1)
WIDTH = Range(
    "an int from 1 to 4096", lambda value: COUNT.holds(value) and value <= 4096
)  # a stranger's agent may ask for more than there is memory
COUNT_OR_ZERO = Range("an int >= 0", lambda value: _is_int(value) and value >= 0)
UPDATES = Range(
    "an int >= 1, or -1 for as many as steps were taken",
    lambda value: _is_int(value) and (value >= 1 or value == -1),
)
SHARE = Range("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
SOME_SHARE = Range("a number above 0, up to 1", lambda value: _is_number(value) and 0 < value <= 1)
WEIGHT = Range("a number >= 0", lambda value: _is_number(value) and value >= 0)
POSITIVE = Range("a number > 0", lambda value: _is_number(value) and value > 0)
POSITIVE_OR_OFF = Range(
    "a number > 0, or null", lambda value: value is None or POSITIVE.holds(value)
)
RATE = Range(
    "a number > 0, or a schedule {start: number > 0, end: number >= 0}",
    lambda value: POSITIVE.holds(value) or _is_schedule(value),
)
RATE_OR_OFF = Range(f"{RATE.words}, or null", lambda value: value is None or RATE.holds(value))
SWITCH = Range("true or false", lambda value: isinstance(value, bool))

RANGES: Mapping[str, Range] = {
    "num_envs": COUNT,
    "width": WIDTH,
    "n_steps": COUNT,
    "batch_size": COUNT,
    "n_epochs": COUNT,
    "buffer_size": COUNT,
    "learning_starts": COUNT_OR_ZERO,
    "train_freq": COUNT,
    "gradient_steps": UPDATES,
    "target_update_interval": COUNT,
    "learning_rate": RATE,
    "clip_range": RATE,
    "clip_range_vf": RATE_OR_OFF,
    "gamma": SHARE,
    "gae_lambda": SHARE,
    "tau": SHARE,
    "exploration_fraction": SOME_SHARE,
    "exploration_initial_eps": SHARE,
    "exploration_final_eps": SHARE,
    "ent_coef": WEIGHT,
    "vf_coef": WEIGHT,
    "max_grad_norm": POSITIVE,
    "target_kl": POSITIVE_OR_OFF,
    "rms_prop_eps": POSITIVE,
    "normalize_advantage": SWITCH,
    "use_rms_prop": SWITCH,
}
"""By name, of every algorithm that has it."""


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
    if algorithm == "dqn":
        known -= {"n_steps"}  # its memory of several steps takes no `Dict` observations
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
