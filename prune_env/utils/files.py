"""Writing so that a reader sees the old file or the new one, and never half of either."""

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from platformdirs import user_cache_dir

from prune_env.errors import PruneEnvError, SettingsError, StateError
from prune_env.utils.full_disk import disk_told
from prune_env.utils.hidden_file import hidden_file
from prune_env.utils.leases import LOCK, locked
from prune_env.utils.output import check_free, hidden_folder, open_to_readers, try_place, umask
from prune_env.utils.own import require_own
from prune_env.utils.reading import read_json_of

log = logging.getLogger(__name__)

HASHES = "sha256.json"
"""In a folder that is made once: the SHA-256 of every file that it was made with, by its path."""


def made_once(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder unless it exists; of several processes one makes it and the others wait.

    Args:
        folder: Appears whole or not at all. What it was made with must stay as it was; files may
            be added directly in it.
        fill: Is given an empty folder to fill.

    Raises:
        StateError: A file was changed, cut short or taken away since, one was put among them, or
            another user can do so (see `require_own`).
    """
    require_own(folder)
    if not _is_there(folder):
        _make(folder, fill)
    _check_unchanged(folder)


def _make(folder: Path, fill: Callable[[Path], None]) -> None:
    with locked(folder):
        if _is_there(folder):  # another process made it meanwhile
            return
        try:
            with new_folder(folder, shared=True) as temporary:
                fill(temporary)
                write_json(temporary / HASHES, hashes_of(temporary))
        except Exception:
            if not _is_there(folder):  # it is if whoever took an expired lease over was quicker
                raise


def _is_there(folder: Path) -> bool:
    """Return whether a folder was made; an empty one was not."""
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def _check_unchanged(folder: Path) -> None:
    path, found = folder / HASHES, hashes_of(folder)
    if not path.exists():
        # Made by a release that kept no hashes, maybe in hours: its files count as they are now.
        log.warning(
            "%s holds no %s: an older release made it, or it was damaged. Its files are taken as "
            "they are, and kept so from now on; delete the folder to have it made again",
            folder,
            HASHES,
        )
        with suppress(OSError):  # a cache that others may only read
            write_json(path, found)
        return
    try:
        made_with = read_json(path)
    except StateError:
        made_with = None
    if not isinstance(made_with, dict):
        raise _changed(path, "the SHA-256 of each file", "something else", folder)
    added = {name for name in found if "/" in name}  # beside them, results may be kept
    for name in sorted({*made_with, *added}):
        if name.endswith(LOCK):  # releases that kept hashes counted locks, which come and go
            continue
        if made_with.get(name) != found.get(name):
            expected, actual = (
                f"SHA-256 {each[name]}" if name in each else "no such file"
                for each in (made_with, found)
            )
            raise _changed(folder / name, expected, actual, folder)


def hashes_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder, by its path in it."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != LOCK  # which come and go
    }


def _changed(path: Path, expected: str, actual: str, folder: Path) -> StateError:
    return StateError(
        f"{path} is not as it was made",
        expected=expected,
        actual=actual,
        remedy=f"delete {folder}; it is made again",
    )


MISSHAPEN = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    BadZipFile,
    zlib.error,
)
"""What code raises that takes the content of a file for something which it is not."""


def cache_folder() -> Path:
    """Return where things that are made once are kept: $PRUNE_ENV_CACHE, or the user's cache."""
    chosen = os.environ.get("PRUNE_ENV_CACHE")
    return Path(chosen) if chosen else Path(user_cache_dir("prune-env"))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(
    path: str | Path, data: bytes, *, private: bool = False, first: bool = False
) -> None:
    """Replace `path` atomically: temporary file in the same folder, fsync, rename.

    Args:
        path: The file.
        data: Its content.
        private: Whether its owner alone may read it, whatever the umask says.
        first: Whether a file that is there stays, and of several writers the first one wins.

    Raises:
        SettingsError: No file can have this name.
    """
    path = Path(path)
    if "\0" in str(path):
        raise SettingsError(f"{path} cannot be the name of a file", expected="a name without NUL")
    path.parent.mkdir(parents=True, exist_ok=True)
    with hidden_file(path) as (handle, name):
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.chmod(name, 0o600 if private else 0o666 & ~umask())
            os.fsync(file.fileno())
        if first:
            _link(name, path)
        else:
            os.replace(name, path)
    _sync_folder(path.parent)


def _link(temporary: str, path: Path) -> None:
    """Give a file the name `path` unless that is taken, and take its own away."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links: the name may be given twice, but to whole files
        if not path.exists():
            os.replace(temporary, path)
    Path(temporary).unlink(missing_ok=True)


def write_json(path: str | Path, value: Any, *, private: bool = False, first: bool = False) -> None:
    """Write `value` as indented JSON, see `write_bytes`; NaN and Inf are refused, being no JSON."""
    data = (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()
    write_bytes(path, data, private=private, first=first)


def read_json(path: str | Path) -> Any:
    """Return the parsed file.

    Raises:
        StateError: The file is missing, too large, or no JSON that can be read.
    """
    try:
        return read_json_of(Path(path), StateError)
    except StateError:
        raise
    except FileNotFoundError:
        raise StateError(f"No file {path}", remedy="check the path") from None
    except (OSError, ValueError, RecursionError) as error:
        raise StateError(
            f"{path} is not valid JSON",
            actual=error,
            remedy="restore the file; if a run wrote it, delete it and run again",
        ) from None


@contextmanager
def shaped(path: str | Path, kind: str, remedy: str = "delete it and run again") -> Iterator[None]:
    """Raise a `StateError` for what the body raises because a file has another shape.

    The body takes the content of one file apart, or builds something from it, and no more: a
    mistake elsewhere must not be blamed on the file. Errors of this package pass unchanged.

    Args:
        path: The file or folder.
        kind: What it should be, such as "the settings of a run".
        remedy: What the user can do.

    Raises:
        StateError: The body failed.
    """
    try:
        yield
    except PruneEnvError:
        raise
    except MISSHAPEN as error:
        raise StateError(
            f"{path} has not the shape of {kind}",
            actual=f"{type(error).__name__}: {error}"[:300],
            remedy=remedy,
        ) from error


@contextmanager
def new_folder(path: str | Path, *, shared: bool = False) -> Iterator[Path]:
    """Give a hidden folder beside `path` to fill; it takes the name `path` when the body succeeds.

    Whatever fails or interrupts the body, nothing of it stays behind; what a process that was
    killed left behind is removed by the next one that fills `path`.

    Args:
        path: Of the folder.
        shared: Another process may be filling it at this moment, and the first one wins; otherwise
            the body does not run then.

    Raises:
        OutputExistsError: `path` exists already and is not an empty folder, or nothing can be put
            in its place, which is tried before the body runs.
        OSError: The disk is full, as the body or this one found; it names `path`.
    """
    place = try_place(path, shared=shared)
    place.parent.mkdir(parents=True, exist_ok=True)
    with disk_told(Path(path)), hidden_folder(place) as folder:
        yield folder
        open_to_readers(folder)
        check_free(place)
        os.replace(folder, place)
    _sync_folder(place.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
