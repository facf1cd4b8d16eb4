"""Output folders: tried before the work, hidden while they are filled, removed if their maker died.

A hidden folder `.NAME.prune-env-xxxxxxxx` stands beside the one that it becomes, and its maker
holds the system's lock on it (`flock`), which ends with the process however that ends: one that is
not locked belongs to nobody.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prune_env.errors import OutputExistsError, SettingsError
from prune_env.utils.handle_lock import lock

PRIVATE = frozenset({"events.jsonl", "watch.json"})
"""Files of a run whose owner alone may read them: they hold clean texts and paths."""
RANDOM = 8
"""Characters at the end of a name that `tempfile` makes."""
NEW = 5.0
"""Seconds for which a hidden folder without a lock may be one that is being made this moment."""


def check_free(path: str | Path, *, resumable: bool = False) -> None:
    """Raise if an output folder of this name would overwrite something.

    Args:
        path: Of the folder.
        resumable: Whether a run that stands there could be gone on with.

    Raises:
        OutputExistsError: `path` exists already and is not an empty folder.
        SettingsError: No folder can have this name, or it is too long.
    """
    path = Path(path)
    _require_short(path, len(hidden(Path())) + RANDOM)
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise OutputExistsError(
            f"The output folder {path} exists",
            expected="a new or empty folder",
            remedy="go on with the run in it (--resume), or choose another --out"
            if resumable
            else "choose another --out, or delete it first",
        )


def check_writable(path: str | Path, remedy: str = "choose another place") -> None:
    """Raise if no file can be written at a path, before the work of which it takes the result.

    Args:
        path: Of the file. Folders that are missing are made when it is written.
        remedy: What the user can do.

    Raises:
        SettingsError: Its folder cannot be written, a file is where it should be, or its name is
            too long.
    """
    _require_short(path, len(hidden(Path())) + RANDOM)  # of the hidden file that becomes it
    place = real_place(path).parent
    while not os.path.lexists(place):
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written",
            expected="a file in a folder that can be written, or in a new one",
            actual=f"{place}: {error.strerror}",
            remedy=remedy,
        ) from None


def _require_short(path: str | Path, added: int) -> None:
    """Raise if a name in the path of what is to be written, or all of it, is too long.

    Args:
        path: As the user gave it.
        added: Bytes by which the hidden name is longer under which it is made.

    Raises:
        SettingsError: It is too long, or no text.
    """
    place = real_place(path)
    if sys.platform == "win32":  # where no folder tells its limits
        return
    above = place.parent
    while not os.path.exists(above):  # nor does a link to itself tell them
        above = above.parent
    names = [len(os.fsencode(name)) for name in place.relative_to(above).parts]
    for what, size, limit in (
        ("each name", max(names, default=0), os.pathconf(above, "PC_NAME_MAX")),
        ("the whole path", len(os.fsencode(place)), os.pathconf(above, "PC_PATH_MAX") - 1),
    ):
        if 0 < limit < size + added:
            raise SettingsError(
                f"The output {path!s:.300} has too long a name",
                expected=f"up to {limit - added:,} bytes in {what}",
                actual=f"{size:,}",
                remedy="choose a shorter --out",
            )


def real_place(path: str | Path) -> Path:
    """Return the path of what is to be written, every link followed.

    Raises:
        SettingsError: It is no text: libraries cannot write to such a name.
    """
    try:
        place = os.path.realpath(path)
        place.encode()
    except ValueError as error:  # a NUL, or a byte that is not UTF-8
        raise SettingsError(
            f"{path} cannot be the name of an output", expected="UTF-8 without NUL", actual=error
        ) from None
    return Path(place)


def try_place(path: str | Path, *, shared: bool = False) -> Path:
    """Return where an output folder will really stand, once one could be put there.

    A link to a folder, or to nothing, is followed. An empty folder is renamed onto the place, as
    the filled one will be: a mount point or a folder in use is found out now, not hours later.
    Nothing that was not there stays behind.

    Args:
        path: Of the folder.
        shared: Another process may be making it at this moment, and the first one wins.

    Raises:
        OutputExistsError: Something stands there, is being made, or nothing can be put there.
        SettingsError: The folder above it cannot be written, or be made.
    """
    check_free(path)
    place = real_place(path)
    if Path.cwd().is_relative_to(place):
        raise _not_here(path, "the folder that the program was started in")
    check_writable(place)
    if not os.path.lexists(place.parent):
        return place
    if remove_leftovers(place) and not shared:
        raise _not_here(path, "another process is making it at this moment")
    existed, mode = os.path.lexists(place), mode_of(place)
    probe = tempfile.mkdtemp(dir=place.parent, prefix=hidden(place))
    try:
        os.replace(probe, place)
    except OSError as error:
        raise _not_here(path, str(error.strerror)) from None
    finally:  # a signal may come at any moment
        for left in (place, probe)[int(existed) :]:
            with suppress(OSError):
                os.rmdir(left)
    if existed:
        place.chmod(mode)
    return place


def require_outside(out: str | Path, source: str | Path) -> None:
    """Refuse an output folder inside the folder of what is read.

    A model's folder is judged by everything in it, so the next look at the source would find
    another one.

    Raises:
        OutputExistsError: `out` would lie inside `source`.
    """
    if not os.path.isdir(source):  # which is false, and no error, of names that no file can have
        return
    if real_place(out).is_relative_to(os.path.realpath(source)):
        raise OutputExistsError(
            f"The output folder {out} lies inside the model's own folder",
            expected=f"a folder outside of {source}",
            remedy="choose another --out",
        )


def _not_here(path: str | Path, actual: str) -> OutputExistsError:
    return OutputExistsError(
        f"No folder can be put in the place of {path}",
        expected="a new name, or an empty folder that nothing else uses",
        actual=actual,
        remedy="choose another --out, such as a new folder inside it",
    )


@contextmanager
def hidden_folder(place: Path) -> Iterator[Path]:
    """Give a hidden folder beside `place` to fill and to rename; it goes if the body fails."""
    folder = Path(tempfile.mkdtemp(dir=place.parent, prefix=hidden(place)))
    handle = _locked(folder)
    try:
        folder.chmod(mode_of(place))
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        if handle is not None:
            os.close(handle)


def remove_leftovers(place: Path) -> bool:
    """Remove hidden folders of processes that were killed while they made `place`.

    Returns:
        Whether a process that lives is making it.
    """
    held = False
    for path in place.parent.iterdir():
        start, rest = path.name[:-RANDOM], path.name[-RANDOM:]
        if start != hidden(place) or len(rest) != RANDOM or path.is_symlink() or not path.is_dir():
            continue
        with suppress(OSError):
            if time.time() - path.stat().st_mtime < NEW and not any(path.iterdir()):
                continue
            try:
                handle = _locked(path)
            except BlockingIOError:
                held = True
                continue
            if handle is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(handle)
    return held


def hidden(place: Path) -> str:
    """Return how hidden names of what becomes a place begin; eight characters follow."""
    return f".{place.name}.prune-env-"


def _locked(folder: Path) -> int | None:
    """Return a handle that locks a folder while it is open; None where folders have no locks.

    Raises:
        BlockingIOError: Another process holds the lock.
    """
    if sys.platform == "win32":  # folders cannot be opened there, and leftovers stay
        return None
    handle = os.open(folder, os.O_RDONLY)
    kept = False
    try:
        kept = lock(handle)
    finally:
        if not kept:
            os.close(handle)
    return handle if kept else None


def open_to_readers(folder: Path) -> None:
    """Give everything in a folder the mode that the umask asks for; libraries write some 0600."""
    mask = umask()
    for place, folders, files in os.walk(folder):
        for name in folders:
            (Path(place) / name).chmod(0o777 & ~mask)
        for name in set(files) - PRIVATE:
            (Path(place) / name).chmod(0o666 & ~mask)


def mode_of(place: Path) -> int:
    """Return the mode of a folder that is there, or else of new ones."""
    with suppress(OSError):
        return place.stat().st_mode & 0o777
    return 0o777 & ~umask()


def umask() -> int:
    """Return which permissions this process takes from new files."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
