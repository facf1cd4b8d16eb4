"""Links in a model folder: none may lead out of it, to files that are not the model's."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prune_env.errors import UnsafeModelError

NAMED = 5
"""So many links are named in a message."""


def find_links(folder: Path) -> Iterator[UnsafeModelError]:
    """Yield one error if links anywhere in a folder lead out of it.

    What such a link names would be read as a part of the model, and could be exported with it:
    somebody's keys, under the name of a chat template.
    """
    names = [str(path.relative_to(folder)) for path in _links(folder) if leaves(path, folder)]
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield UnsafeModelError(
            f"{folder} holds links that lead out of it: "
            f"{', '.join(f'{name!r:.80}' for name in sorted(names)[:NAMED])}{more}",
            expected="files, and links to files of the same folder",
            remedy="do not use this model; if you made the links, put copies in their place",
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


def _links(folder: Path) -> Iterator[Path]:
    """Yield every link in a folder, at any depth, following none and without recursion."""
    stack = [folder]
    while stack:
        # What cannot be listed cannot be read as a part of the model either.
        with suppress(OSError), os.scandir(stack.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    yield Path(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    stack.append(Path(entry.path))
