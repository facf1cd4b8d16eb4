"""What callers give as a path."""

import os
from pathlib import Path

from prune_env.errors import SettingsError


def as_path(path: object, name: str, remedy: str = "") -> Path:
    """Return a path that was given as an argument.

    Args:
        path: Text or a path; a blank text is none, though the library takes it for `.`.
        name: Of the argument, for the message.
        remedy: What the user can do.

    Raises:
        SettingsError: It is something else.
    """
    if isinstance(path, os.PathLike) or (isinstance(path, str) and path.strip()):
        return Path(path)
    raise SettingsError(
        f"{name} is no path",
        expected="the path of a file or a folder, or a name",
        actual=f"{type(path).__name__} {path!r:.80}",
        remedy=remedy,
    )
