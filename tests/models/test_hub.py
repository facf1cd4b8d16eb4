from fnmatch import fnmatch
from inspect import signature
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest

from prune_env.errors import ModelError, SettingsError
from prune_env.models import LoadedModel
from prune_env.models.catalog import check_hub, push_folder
from tests.models.exports import save_zeroed


class LocalHub:
    """Stands in for the Hub: a repository is a folder name with the files that it received."""

    repositories: dict[str, list[str]]

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> str:
        assert private
        if name in self.repositories and not exist_ok:
            raise RuntimeError("409 You already created this model repo")
        self.repositories[name] = []
        return f"https://hub.test/{name}"

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, ignore_patterns: list[str], commit_message: str
    ) -> None:
        assert commit_message
        names = (str(path.relative_to(folder_path)) for path in Path(folder_path).rglob("*"))
        self.repositories[repo_id] += [
            name for name in names if not any(fnmatch(name, each) for each in ignore_patterns)
        ]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[LocalHub]:
    monkeypatch.setattr(LocalHub, "repositories", {}, raising=False)
    monkeypatch.setattr(huggingface_hub, "HfApi", LocalHub)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_test")
    return LocalHub


def test_a_folder_becomes_a_private_repository(
    hub: type[LocalHub], tiny_model: LoadedModel, tmp_path: Path
) -> None:
    save_zeroed(tiny_model, np.ones((2, 4)), tmp_path / "out")
    (tmp_path / "out" / "tensorboard").mkdir()
    (tmp_path / "out" / "tensorboard" / "events").write_text("")
    for private in ("events.jsonl", "watch.json"):
        (tmp_path / "out" / private).write_text("what a run told")
    check_hub("me/model")
    assert push_folder(tmp_path / "out", "me/model") == "https://hub.test/me/model"
    pushed = set(hub.repositories["me/model"])
    assert {"model.safetensors", "config.json", "README.md", "mask.json"} < pushed
    assert not pushed & {"tensorboard/events", "events.jsonl", "watch.json"}


def test_an_existing_repository_is_left_alone_and_the_folder_stays(
    hub: type[LocalHub], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{}")
    hub.repositories["me/model"] = ["precious"]
    with pytest.raises(ModelError, match=r"is written.*409.*hf upload me/model"):
        push_folder(tmp_path, "me/model")
    assert hub.repositories["me/model"] == ["precious"]
    assert (tmp_path / "config.json").exists()


@pytest.mark.parametrize("name", ["model", "a/b/c", "../x", "me/mo del", ""])
@pytest.mark.usefixtures("hub")
def test_a_wrong_id_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="owner/model"):
        check_hub(name)


@pytest.mark.usefixtures("hub")
def test_without_a_token_nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(SettingsError, match="log in first"):
        check_hub("me/model")


def test_the_names_of_the_hub_exist() -> None:
    """The stand-in above must not outlive the functions that it stands for."""
    api = huggingface_hub.HfApi
    for stand_in, real in (
        (LocalHub.create_repo, api.create_repo),
        (LocalHub.upload_folder, api.upload_folder),
    ):
        names = set(signature(stand_in).parameters) - {"name"}
        assert names <= set(signature(real).parameters)
