"""What values the hyperparameters of Stable-Baselines3's algorithms may have."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

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
    "width": COUNT,
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
