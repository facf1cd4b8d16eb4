"""What lies in a model folder: so many regular files, and no links to what is not the model's."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prune_env.errors import ModelError, UnsafeModelError
from prune_env.utils.limits import FOLDER_FILES
from prune_env.utils.reading import kind_of

NAMED = 5
"""So many files are named in a message."""


def find_misplaced(folder: Path) -> Iterator[ModelError]:
    """Yield an error if a folder holds too much, links that lead out of it, or FIFOs and devices.

    What such a link names would be read as a part of the model, and could be exported with it:
    somebody's keys, under the name of a chat template.
    """
    links, odd = [], []
    for count, entry in enumerate(_entries(folder), start=1):
        if count > FOLDER_FILES.value:
            yield FOLDER_FILES.exceeded(count, f"{folder} holds too many files", ModelError)
            return
        if entry.is_symlink():
            if leaves(Path(entry.path), folder):
                links.append(os.path.relpath(entry.path, folder))
        elif not entry.is_dir(follow_symlinks=False):
            mode = entry.stat(follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode):
                odd.append(f"{os.path.relpath(entry.path, folder)} ({kind_of(mode)})")
    if links:
        yield UnsafeModelError(
            f"{folder} holds links that lead out of it: {_named(links)}",
            expected="files, and links to files of the same folder",
            remedy="do not use this model; if you made the links, put copies in their place",
        )
    if odd:
        yield ModelError(
            f"{folder} holds what is no file: {_named(odd)}",
            expected="regular files and folders",
            remedy="delete what is none",
        )


def leaves(path: Path, folder: Path) -> bool:
    """Return whether a path in a model folder is a link to something that is not the model's."""
    if not path.is_symlink():
        return False
    try:
        target = path.resolve()
    except (OSError, RuntimeError):  # a link to itself
        return True
    return not any(target.is_relative_to(home) for home in _homes(folder.resolve()))


def _homes(folder: Path) -> Iterator[Path]:
    """Yield the folder, and in a cache of the Hub what holds all files of its repository.

    There, `models--x--y/snapshots/<revision>/` holds links to `models--x--y/blobs/`.
    """
    yield folder
    for parent in folder.parents:
        if parent.name == "snapshots" and parent.parent.name.startswith("models--"):
            yield parent.parent


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield every entry of a folder, at any depth, following no link and without recursion."""
    stack = [str(folder)]
    while stack:
        # What cannot be listed cannot be read as a part of the model either.
        with suppress(OSError), os.scandir(stack.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(f"{name!r:.80}" for name in sorted(names)[:NAMED]) + more
