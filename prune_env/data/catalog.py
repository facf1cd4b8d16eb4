"""Named data sets, each with training, validation and test rows that never change."""

from collections.abc import Callable
from pathlib import Path

from prune_env.data.dataset import Splits
from prune_env.registry import Registry

__all__ = ["DATASETS", "Splits", "load_named"]

Loader = Callable[[Path | None, bool], Splits]
"""`(folder, allow_download) -> Splits`."""

DATASETS: Registry[Loader] = Registry("data set")
"""Loaders by name; use `load_named`."""

DATASETS.register(
    "rotten-tomatoes",
    "prune_env.data.rotten_tomatoes:load_rotten_tomatoes",
    help="8,530 film review sentences, binary sentiment; installed with the `demo` extra",
)
DATASETS.register(
    "sst2",
    "prune_env.data.sst2:load_sst2",
    help="9,613 film review sentences, binary sentiment; from a folder, or downloaded when allowed",
)


def load_named(name: str, folder: Path | None = None, *, allow_download: bool = False) -> Splits:
    """Return a data set of the catalog.

    Args:
        name: A name of `DATASETS`.
        folder: Where its files are, for a data set that is not installed with the package.
        allow_download: Fetch the files from their publishers, checked by hash, if no folder is
            given.

    Raises:
        UnknownNameError: The name is not in the catalog.
        DataError: The files are missing or damaged.
    """
    return DATASETS[name](folder, allow_download)
