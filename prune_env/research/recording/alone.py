"""One process at a time goes on with a file: each writes all that it knows, and no more."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prune_env.errors import StateError
from prune_env.utils.leases import LOOK_S, locked, silent_s
from prune_env.utils.output import real_place


@contextmanager
def alone(path: Path, doing: str) -> Iterator[None]:
    """Be the only process that goes on with a file while the body runs, which reads it and adds.

    Args:
        path: The file, whether it exists or not; every link to it counts as the file.
        doing: What such a process does, for the message, such as "records into".

    Raises:
        StateError: Another process goes on with it.
    """
    place = real_place(path)
    # A moment longer than for a silent holder: one that only looks, see below, is gone by then.
    with locked(place, wait=silent_s(place) + LOOK_S) as held:
        if not held:
            raise StateError(
                f"Another process {doing} {path}", remedy="wait for it, or choose another --out"
            )
        yield


def check_alone(path: Path, doing: str) -> None:
    """Find out before the work whether another process goes on with a file; see `alone`.

    Raises:
        StateError: One does.
    """
    if real_place(path).parent.is_dir():  # a lease would make the folder; in none, nobody works
        with alone(path, doing):
            pass
