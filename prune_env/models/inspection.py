"""What a model folder holds, told from its files alone."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from prune_env.errors import ModelError, UnsafeModelError
from prune_env.files import sha256_of
from prune_env.models.source import (
    PICKLES,
    SLICED_MANIFEST,
    architecture_of,
    find_problems,
    head_count,
    read_config,
)


@dataclass(frozen=True)
class FileInfo:
    """One file: name, size in bytes, SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class SourceReport:
    """What is known of a model before it is loaded.

    Attributes:
        path: The folder.
        files: Every file directly in it, by name.
        config: config.json, parsed; empty if it cannot be read.
        model_type: Its `model_type`, or "unknown".
        architecture: The class that saved it, or "unknown".
        shape: (layers, heads) as config.json states them, or None.
        problems: Why the model must not be loaded, unsafe ones first; empty if nothing is wrong.
        unsafe: How many of them could run code or reach the network.
        notes: What is odd but harmless, since it is never read.
        sha256: Identity of the folder: the hash of all names and file hashes, sorted.
    """

    path: Path
    files: tuple[FileInfo, ...]
    config: dict[str, Any]
    model_type: str
    architecture: str
    shape: tuple[int, int] | None
    problems: tuple[str, ...]
    unsafe: int
    notes: tuple[str, ...]
    sha256: str


def inspect_source(path: Path) -> SourceReport:
    """Read a model folder without building a model or running anything in it.

    Args:
        path: Folder that holds config.json and safetensors.

    Raises:
        ModelError: There is no such folder.
    """
    path = Path(path)
    if not path.is_dir():
        raise next(find_problems(path))
    files = list_files(path)
    try:
        config = read_config(path / "config.json")
    except ModelError:
        config = {}
    problems = sorted(find_problems(path), key=lambda each: not isinstance(each, UnsafeModelError))
    return SourceReport(
        path=path,
        files=files,
        config=config,
        model_type=str(config.get("model_type", "unknown")),
        architecture=architecture_of(config),
        shape=head_count(config),
        problems=tuple(map(str, problems)),
        unsafe=sum(isinstance(problem, UnsafeModelError) for problem in problems),
        notes=tuple(_notes(files)),
        sha256=identity(files),
    )


def list_files(folder: Path) -> tuple[FileInfo, ...]:
    """Return every file directly in `folder`, by name."""
    return tuple(
        FileInfo(file.name, file.stat().st_size, sha256_of(file))
        for file in sorted(folder.iterdir())
        if file.is_file()
    )


def identity(files: tuple[FileInfo, ...]) -> str:
    """Return one SHA-256 for a folder: of the names and hashes of its files, sorted by name."""
    return sha256("".join(f"{file.sha256}  {file.name}\n" for file in files).encode()).hexdigest()


def _notes(files: tuple[FileInfo, ...]) -> list[str]:
    reasons = {".py": "code", **dict.fromkeys(PICKLES, "a pickle or another unsafe format")}
    notes = [
        f"{file.name} is {reason}; it is never read"
        for file in files
        if (reason := reasons.get(Path(file.name).suffix))
    ]
    if any(file.name == SLICED_MANIFEST for file in files):
        notes.append(f"{SLICED_MANIFEST}: heads were cut out; prune_env.load_pruned loads it")
    return notes
