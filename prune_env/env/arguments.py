"""What the arguments of an environment may be, given by code or by a file."""

from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any

import numpy as np

from prune_env.env.subject import split_names
from prune_env.errors import SettingsError
from prune_env.settings import UnitSettings

ARGUMENTS: dict[str, tuple[type, ...]] = {
    **{"model": (str, NoneType), "data": (str, dict, NoneType)},
    **dict.fromkeys(("metrics", "observation"), (str, list)),
    **dict.fromkeys(("prune_step", "min_heads_per_layer", "neuron_groups", "map_steps"), (int,)),
    **{"pool": (list, NoneType), "reward": (str,), "guard": (str,)},
    **dict.fromkeys(("backtrack", "flat", "end_on_illegal", "recorded"), (bool,)),
    **{"tau": (int, float, NoneType), "max_drop": (int, float), "success_share": (int, float)},
    **{"max_evaluations": (int, NoneType), "illegal_penalty": (int, float)},
}
"""Arguments of `HeadPruningEnv` that a file may give, and what each may be; lists hold strings,
and a dictionary what `named_data` takes."""

SPOKEN = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a string",
    NoneType: "None",
}


def plain(name: str, value: Any) -> Any:
    """Return a number, truth value or string, as Python's own where it is one of NumPy.

    Args:
        name: An argument of `ARGUMENTS`.
        value: What was given.

    Raises:
        SettingsError: It is of another type; a truth value is no number.
    """
    kinds = ARGUMENTS[name]
    own = value.item() if isinstance(value, np.generic) else value
    if isinstance(own, bool) > (bool in kinds) or not isinstance(own, kinds):
        spoken = [text for kind, text in SPOKEN.items() if kind in kinds]
        if float in kinds:
            spoken.remove(SPOKEN[int])
        raise _wrong(name, " or ".join(spoken), value)
    return own


def whole_number(name: str, value: Any, least: int) -> int:
    """Return a whole number, Python's own.

    Raises:
        SettingsError: It is none, or less than `least`.
    """
    own = value.item() if isinstance(value, np.generic) else value
    if isinstance(own, bool) or not isinstance(own, int) or own < least:
        raise SettingsError(
            f"{name} is out of range", expected=f"a whole number >= {least}", actual=repr(value)
        )
    return own


def names_of(name: str, value: Any) -> tuple[str, ...]:
    """Return the names that an argument holds, as one string with commas or one by one.

    Raises:
        SettingsError: It holds something else.
    """
    names: tuple[Any, ...] = (None,)
    if isinstance(value, str):
        names = split_names(value)
    elif isinstance(value, Iterable):
        names = tuple(value)
    if not all(isinstance(each, str) for each in names):
        raise _wrong(name, "names, in a list or in one string with commas", value)
    return tuple(map(str, names))


def models_of(pool: Any) -> list[Any]:
    """Return the models of a pool; `find_subject` checks what each one is.

    Raises:
        SettingsError: It is no list of models, or holds None.
    """
    if isinstance(pool, str | Mapping) or not isinstance(pool, Iterable):
        raise _wrong("pool", "a list of models", pool)
    models = list(pool)
    if any(model is None for model in models):
        raise _wrong("pool", "a list of models, none of them None", pool)
    named = [model for model in models if isinstance(model, str)]
    if len(set(named)) < len(named):
        raise _wrong("pool", "a list of models, none of them twice", pool)
    return models


def reset_options(options: Any) -> dict[str, Any]:
    """Return the options of a reset, none where there are none.

    Raises:
        SettingsError: They are no mapping.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise _wrong("options", 'a mapping, such as {"model": name}', options)
    return dict(options)


def unit_settings(neuron_groups: Any, map_steps: Any) -> UnitSettings:
    """Return how the units beside heads are cut.

    Raises:
        SettingsError: A number is no whole one, or out of range.
    """
    return UnitSettings(plain("neuron_groups", neuron_groups), plain("map_steps", map_steps))


def _wrong(name: str, expected: str, actual: Any) -> SettingsError:
    return SettingsError(
        f"{name} is of the wrong type",
        expected=expected,
        actual=f"{actual!r:.200} ({type(actual).__name__})",
    )
