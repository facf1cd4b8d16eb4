"""What `purify` may be given from Python; what is of another type is refused at once."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from prune_env.data.dataset import TextDataset
from prune_env.data.unlabelled import Unlabelled
from prune_env.errors import SettingsError
from prune_env.models.catalog import SAVE_FIRST
from prune_env.settings import FineTuneSettings, LoadingSettings, SearchSettings
from prune_env.utils.paths import as_path

SETTINGS = {"search_settings": SearchSettings, "fine_tune_settings": FineTuneSettings}

SAVE_MASK = (
    "write a mask with prune_env.models.save_mask(path, mask), or {layer: [pruned heads]} as "
    "JSON, and give the path"
)


def check_paths(source: object, out: object, policy: object, mask: object) -> None:
    """Raise a `SettingsError` for what is neither a path nor a name, such as a model in memory."""
    as_path(source, "source", SAVE_FIRST)
    as_path(out, "out", "give a new folder")
    as_path(policy, "policy", "`prune-env list` describes every name")
    if mask is not None:
        as_path(mask, "mask", SAVE_MASK)


def check_kinds(
    train: object, validation: object, unlabelled: object, search: object, fine_tune: object
) -> None:
    """Raise a `SettingsError` for what is of another type, such as the path of a data set."""
    for name, value, kind, remedy in (
        ("train", train, TextDataset, "read a file with load_data(path)"),
        ("validation", validation, TextDataset, "read a file with load_data(path)"),
        ("unlabelled", unlabelled, Unlabelled, "read a file with read_unlabelled(path)"),
        ("search_settings", search, SearchSettings, ""),
        ("fine_tune_settings", fine_tune, FineTuneSettings, ""),
    ):
        if not (isinstance(value, kind) or (value is None and kind is not TextDataset)):
            raise SettingsError(
                f"{name} is of the wrong type",
                expected=kind.__name__,
                actual=f"{type(value).__name__} {value!r:.80}",
                remedy=remedy,
            )


def loading_settings(given: Mapping[str, Any]) -> LoadingSettings:
    """Return how a model is loaded, from the keywords that `purify` does not know.

    Raises:
        TypeError: Nor does `LoadingSettings`; one that is a setting is told its place.
    """
    for name in sorted(given.keys() - _names(LoadingSettings)):
        places = [
            f": give {argument}={kind.__name__}({name}=...)"
            for argument, kind in SETTINGS.items()
            if name in _names(kind)
        ]
        told = "".join(places)
        raise TypeError(f"purify() got an unexpected keyword argument '{name}'{told}")
    return LoadingSettings(**given)


def _names(kind: type) -> set[str]:
    return {each.name for each in fields(kind)}
