"""What a model folder holds, told from its files alone."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from prune_env.errors import ModelError, PruneEnvError, UnsafeModelError
from prune_env.models.architectures import head_count
from prune_env.models.config_rules import MAX_COUNT
from prune_env.models.folder import find_misplaced, leaves
from prune_env.models.masks import load_mask
from prune_env.models.source import (
    ENSEMBLE_MANIFEST,
    PICKLES,
    SLICED_MANIFEST,
    architecture_of,
    find_problems,
    is_ensemble,
    read_config,
)
from prune_env.utils.files import sha256_of
from prune_env.utils.limits import FOLDER_FILES, HASHED_BYTES, WEIGHT_BYTES

ENSEMBLE_FORMAT = "prune-env-ensemble"
ENSEMBLE_VERSION = 1


NOT_HASHED = "too large"
"""In the place of the hash of a file that no model reads, or that is larger than any model."""


@dataclass(frozen=True)
class FileInfo:
    """One file: name, size in bytes, SHA-256 in hexadecimal, or NOT_HASHED."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class SourceReport:
    """What is known of a model before it is loaded.

    Attributes:
        path: The folder.
        members: Masks of the ensemble that it holds, 0 if its manifest cannot be read; None if it
            holds a single model. What follows is then told of the first of its models.
        files: Every file directly in it, by name; of an ensemble those of its models too.
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
    members: int | None
    files: tuple[FileInfo, ...]
    config: dict[str, Any]
    model_type: str
    architecture: str
    shape: tuple[int, int] | None
    problems: tuple[str, ...]
    unsafe: int
    notes: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class EnsembleManifest:
    """What the manifest of an ensemble says.

    Attributes:
        members: Number of masks, which are in `mask-0.json`, ...
        weights_sha256: Hash of each model's weights, in `model-0`, ...; one for all members, or
            one for each.
        label_names: Name of each output.
    """

    members: int
    weights_sha256: tuple[str, ...]
    label_names: tuple[str, ...]


def inspect_source(path: str | Path) -> SourceReport:
    """Read a model folder without building a model or running anything in it.

    Args:
        path: Folder that holds config.json and safetensors, or an ensemble.

    Raises:
        ModelError: There is no such folder.
    """
    path = Path(path)
    if not os.path.isdir(path):
        raise next(find_problems(path))
    members: int | None = None
    files: tuple[FileInfo, ...] = ()
    models = [path]
    found: list[PruneEnvError] = list(find_misplaced(path))
    if found:  # nothing behind a link is read, nor a host of files
        members, models = 0 if is_ensemble(path) else None, []
        files = list_files(path) if len(os.listdir(path)) <= FOLDER_FILES.value else ()
    elif is_ensemble(path):
        models = _models_of(path)
        files = list_all_files(path)
        try:
            manifest = read_ensemble(path)
            members = manifest.members
            found += _ensemble_problems(path, manifest, files)
        except ModelError as problem:
            members = 0
            found.append(problem)
    else:
        files = list_files(path)
    try:
        config = read_config(models[0] / "config.json") if models else {}
    except ModelError:
        config = {}
    found += [problem for model in models for problem in find_problems(model)]
    problems = sorted(found, key=lambda each: not isinstance(each, UnsafeModelError))
    return SourceReport(
        path=path,
        members=members,
        files=files,
        config=config,
        model_type=f"{config.get('model_type', 'unknown')!s:.100}",
        architecture=f"{architecture_of(config):.100}",
        shape=head_count(config),
        problems=tuple(map(str, problems)),
        unsafe=sum(isinstance(problem, UnsafeModelError) for problem in problems),
        notes=tuple(_notes(files)),
        sha256=identity(files),
    )


def list_files(folder: Path) -> tuple[FileInfo, ...]:
    """Return every file directly in `folder`, by name; links that leave it are none of its."""
    return tuple(
        FileInfo(file.name, file.stat().st_size, _hash(file))
        for file in sorted(folder.iterdir())
        if file.is_file() and not leaves(file, folder)
    )


def list_all_files(folder: Path) -> tuple[FileInfo, ...]:
    """Return the files of an ensemble: those directly in `folder`, then those of its models."""
    return list_files(folder) + tuple(
        replace(file, name=f"{model.name}/{file.name}")
        for model in _models_of(folder)
        for file in list_files(model)
    )


def _hash(file: Path) -> str:
    limit = WEIGHT_BYTES if file.suffix == ".safetensors" else HASHED_BYTES
    return sha256_of(file) if file.stat().st_size <= limit.value else NOT_HASHED


def identity(files: tuple[FileInfo, ...]) -> str:
    """Return one SHA-256 for a folder: of the names and hashes of its files, sorted by name."""
    # Names need not be Unicode; os.fsencode gives back the bytes that the folder holds.
    lines = (file.sha256.encode() + b"  " + os.fsencode(file.name) + b"\n" for file in files)
    return sha256(b"".join(lines)).hexdigest()


def read_ensemble(folder: Path) -> EnsembleManifest:
    """Read the manifest of an ensemble.

    Raises:
        ModelError: It is damaged, of another kind or of a newer version.
    """
    content = read_config(folder / ENSEMBLE_MANIFEST)
    kind = content.get("format"), content.get("version")
    if kind != (ENSEMBLE_FORMAT, ENSEMBLE_VERSION):
        raise damaged_ensemble(folder, f"{ENSEMBLE_FORMAT} version {ENSEMBLE_VERSION}", kind)
    members, digests, names = map(content.get, ("members", "weights_sha256", "label_names"))
    if (
        type(members) is not int
        or not isinstance(digests, list)
        or not isinstance(names, list)
        or not 1 <= members <= MAX_COUNT
        or len(digests) not in (1, members)
    ):
        raise damaged_ensemble(folder, "one model for all members, or one for each", content)
    return EnsembleManifest(members, tuple(map(str, digests)), tuple(map(str, names)))


def damaged_ensemble(folder: Path, expected: str, actual: object) -> ModelError:
    """Return the error that says what of an ensemble is damaged."""
    return ModelError(
        f"The ensemble {folder} is damaged",
        expected=expected,
        actual=str(actual)[:300],
        remedy="export it again with prune_env.purification.write_ensemble",
    )


def _models_of(folder: Path) -> list[Path]:
    """Return the models that lie in the folder of an ensemble, whatever its manifest says."""
    models = [path for path in folder.glob("model-*") if path.is_dir()]
    return sorted(models, key=lambda path: (len(path.name), path.name))


def _ensemble_problems(
    folder: Path, manifest: EnsembleManifest, files: tuple[FileInfo, ...]
) -> Iterator[PruneEnvError]:
    """Yield what is wrong with an ensemble besides what is wrong with its models themselves."""
    held = {file.name: file.sha256 for file in files}
    for index, digest in enumerate(manifest.weights_sha256):
        actual = held.get(f"model-{index}/model.safetensors", "no such file")
        if actual != digest:
            expected = f"weights of model-{index} with SHA-256 {digest}"
            yield damaged_ensemble(folder, expected, actual)
    for index in range(manifest.members):
        try:
            load_mask(folder / f"mask-{index}.json")
        except PruneEnvError as problem:
            yield problem


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
