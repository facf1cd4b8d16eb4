"""Writing so that a reader sees the old file or the new one, and never half of either."""

import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from platformdirs import user_cache_dir

from prune_env.errors import OutputExistsError, PruneEnvError, StateError

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


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` atomically: temporary file in the same folder, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and Inf are refused, being no JSON."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Return the parsed file.

    Raises:
        StateError: The file is missing, or is no JSON that can be read.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise StateError(f"No file {path}", remedy="check the path") from None
    except (OSError, ValueError, RecursionError) as error:
        raise StateError(
            f"{path} is not valid JSON",
            actual=error,
            remedy="restore the file; if a run wrote it, delete it and run again",
        ) from None


@contextmanager
def shaped(path: Path, kind: str, remedy: str = "delete it and run again") -> Iterator[None]:
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
def new_folder(path: Path) -> Iterator[Path]:
    """Give a hidden folder beside `path` to fill; it takes the name `path` when the body succeeds.

    Whatever fails or interrupts the body, nothing of it stays behind.

    Raises:
        OutputExistsError: `path` exists already and is not an empty folder.
    """
    check_free(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        folder.chmod(0o777 & ~_umask())
        yield folder
        check_free(path)
        os.replace(folder, path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _sync_folder(path.parent)


def check_free(path: Path) -> None:
    """Raise if an output folder of this name would overwrite something.

    Raises:
        OutputExistsError: `path` exists already and is not an empty folder.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise OutputExistsError(
            f"The output folder {path} exists",
            expected="a new or empty folder",
            remedy="choose another --out, or delete it first",
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
