"""Whether another user of this machine could have put files of theirs in the place of ours."""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from prune_env.errors import StateError

TRUST = "PRUNE_ENV_TRUST_CACHE"
"""Environment variable: `1` takes a cache that others can write as it is."""


def require_own(folder: Path) -> None:
    """Refuse a cached folder that another user could have written, or can replace.

    Its hashes lie beside its files, so they tell accidents but not a user who writes both. Looked
    at are the folder with all in it, and the two above it, which the cache consists of. The
    members of a folder's group are trusted, as whoever shares a cache on purpose sets it up.

    Raises:
        StateError: A part belongs to another user, or everybody may write it.
    """
    if sys.platform == "win32" or os.environ.get(TRUST) == "1":
        return
    for path in _parts(folder):
        found = path.stat()
        if found.st_uid not in (os.getuid(), 0):
            actual = f"it belongs to the user {found.st_uid}"
        elif found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            actual = f"mode {stat.S_IMODE(found.st_mode):04o}: everybody may write it"
        else:
            continue
        raise StateError(
            f"Another user can change the cached {path}",
            expected="a cache that its user alone writes",
            actual=actual,
            remedy=f"set PRUNE_ENV_CACHE to a folder of your own, or {TRUST}=1 if you trust "
            "whoever can write this one",
        )


def _parts(folder: Path) -> Iterator[Path]:
    yield from (place for place in (*folder.parents[:2], folder) if place.exists())
    yield from (path for path in folder.rglob("*") if not path.is_symlink())
