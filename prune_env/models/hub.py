"""Publishing an exported model on the Hugging Face Hub, only where a user asks for it by name."""

import re
from pathlib import Path

from prune_env.errors import SettingsError
from prune_env.models.guard import guarded
from prune_env.models.quiet import quiet_transformers

REPOSITORY = re.compile(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
KEPT_AT_HOME = ["tensorboard/*", ".*"]
"""What is not uploaded: training curves, hidden files."""


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
        folder: What `save_zeroed`, `save_sliced` or `purify` wrote.
        name: Id of the repository, `owner/model`.

    Returns:
        Address of the repository.

    Raises:
        ModelError: The repository exists, or the upload failed; the folder stays as it is.
    """
    from huggingface_hub import HfApi  # noqa: PLC0415 - only where it is asked for

    what = f"{folder} is written, but cannot be pushed to {name}"
    remedy = f"see what the Hub says, then: hf upload {name} {folder}"
    with guarded(what, expected="a new repository", remedy=remedy), quiet_transformers():
        api = HfApi()
        url = api.create_repo(name, private=True, exist_ok=False)
        api.upload_folder(
            repo_id=name,
            folder_path=folder,
            ignore_patterns=KEPT_AT_HOME,
            commit_message="Add a classifier purified by prune-env",
        )
    return str(url)
