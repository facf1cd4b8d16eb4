"""Exports into folders that appear whole or not at all, as `purify` makes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from prune_env.models import LoadedModel, write_sliced, write_zeroed
from prune_env.models.ensemble import write_ensemble
from prune_env.utils.files import new_folder


def save_zeroed(
    loaded: LoadedModel, mask: npt.ArrayLike, folder: Path, facts: Mapping[str, Any] | None = None
) -> None:
    with new_folder(folder) as temporary:
        write_zeroed(loaded, mask, temporary, facts)


def save_sliced(loaded: LoadedModel, mask: npt.ArrayLike, folder: Path) -> None:
    with new_folder(folder) as temporary:
        write_sliced(loaded, mask, temporary)


def save_ensemble(
    loaded: LoadedModel, folder: Path, facts: Mapping[str, Any] | None = None
) -> None:
    with new_folder(folder) as temporary:
        write_ensemble(loaded, temporary, facts)
