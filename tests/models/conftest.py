"""What every test of the models stands on; none of them may open a socket."""

import shutil
import socket
from pathlib import Path

import pytest
import torch

from prune_env.models import load_classifier
from tests.models.tiny import tiny_inputs
from tests.support import write_tiny_folder


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A good model that a test may spoil."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, torch.Tensor]:
    """A very small model, its weights as bytes, and its logits."""
    path = write_tiny_folder(tmp_path_factory.mktemp("fuzz") / "m", layers=1, heads=1, hidden=8)
    loaded = load_classifier(path)
    with torch.no_grad():
        logits = loaded.model(**tiny_inputs(loaded)).logits
    return path, (path / "model.safetensors").read_bytes(), logits
