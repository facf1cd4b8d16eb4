"""Files in memory, to travel between machines that share no folder."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from prune_env.errors import StateError
from prune_env.utils.files import HASHES, made_once, write_bytes
from prune_env.utils.leases import LOCK
from prune_env.utils.output import PRIVATE

Bundle = Mapping[str, npt.NDArray[np.uint8]]
"""Bytes of files by their path below some folder, as arrays: those travel without being copied."""


def pack(root: Path, names: Iterable[str] = (".",)) -> dict[str, npt.NDArray[np.uint8]]:
    """Return files below a folder.

    Args:
        root: The folder.
        names: Files and folders in it; what is not there is left out.
    """
    files = (path for name in names for path in [root / name, *(root / name).rglob("*")])
    return {
        path.relative_to(root).as_posix(): np.fromfile(path, np.uint8)
        for path in sorted(set(files))
        if path.is_file() and path.suffix != LOCK
    }


def unpack(bundle: Bundle, root: Path) -> None:
    """Write files below a folder, but those that are there.

    A folder of the bundle that was made once (`utils.files.made_once`) appears whole.

    Raises:
        StateError: A path leads out of the folder.
    """
    for path in map(PurePosixPath, bundle):
        if path.is_absolute() or ".." in path.parts:
            raise StateError("A bundle of files names one outside its folder", actual=path)
    whole = [path.removesuffix(f"/{HASHES}") for path in bundle if path.endswith(f"/{HASHES}")]
    for name in (each for each in whole if not (root / each).exists()):
        parts = {
            path.removeprefix(f"{name}/"): data
            for path, data in bundle.items()
            if path.startswith(f"{name}/") and path != f"{name}/{HASHES}"
        }

        def fill(folder: Path, parts: Bundle = parts) -> None:
            _write(parts, folder)

        made_once(root / name, fill)
    _write(bundle, root)


def _write(bundle: Bundle, root: Path) -> None:
    for path, data in bundle.items():
        if not (root / path).exists():
            private = PurePosixPath(path).name in PRIVATE
            write_bytes(root / path, data.tobytes(), first=True, private=private)
