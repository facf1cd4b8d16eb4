"""Weights that wait in a file."""

import errno
import io
import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn

from prune_env.models.set_aside import set_aside
from tests.models.tiny import tiny_classifier


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [each.detach().clone() for each in model.parameters()]


def test_weights_come_back_as_they_were() -> None:
    model = tiny_classifier("bert").model
    inputs = {"input_ids": torch.arange(6)[None]}
    same, before, answer = list(model.parameters()), weights(model), model(**inputs).logits
    versions = [each._version for each in same]
    with set_aside(model):
        assert not any(each.numel() for each in model.parameters())
    assert all(one is other for one, other in zip(same, model.parameters(), strict=True))
    assert all(map(torch.equal, before, model.parameters()))
    assert [each._version for each in model.parameters()] == versions
    assert torch.equal(model(**inputs).logits, answer)


def test_weights_come_back_after_an_error() -> None:
    model = tiny_classifier("bert").model
    before = weights(model)
    with pytest.raises(KeyboardInterrupt), set_aside(model):
        raise KeyboardInterrupt
    assert all(map(torch.equal, before, model.parameters()))


def test_weights_of_any_kind_come_back() -> None:
    model = nn.ParameterList(
        [
            nn.Parameter(torch.tensor(3.0)),
            nn.Parameter(torch.arange(6.0).reshape(2, 3).T),
            nn.Parameter(torch.tensor([[1.5, float("nan")]], dtype=torch.bfloat16)),
            nn.Parameter(torch.empty(0, 4)),
        ]
    )
    before = weights(model)
    with set_aside(model):
        pass
    for one, other in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=0, atol=0, equal_nan=True)


def test_weights_that_two_modules_share_stay_shared() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    with set_aside(nn.Sequential(first, second)):
        pass
    assert second.weight is first.weight
    assert first.weight.shape == (3, 3)


def test_without_room_for_a_file_weights_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Full(io.FileIO):
        def write(self, data: memoryview) -> int:  # type: ignore[override]
            if self.tell():
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data[:5])

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda buffering: Full(tmp_path / "full", "w+"))
    model = tiny_classifier("bert").model
    before = weights(model)
    with set_aside(model):
        assert all(map(torch.equal, before, model.parameters()))
    assert all(map(torch.equal, before, model.parameters()))


def test_without_a_folder_for_files_weights_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(buffering: int) -> io.FileIO:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", nowhere)
    model = tiny_classifier("bert").model
    before = weights(model)
    with set_aside(model):
        assert all(map(torch.equal, before, model.parameters()))


def test_what_is_written_and_read_in_pieces_is_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Slow(io.FileIO):
        def write(self, data: memoryview) -> int:  # type: ignore[override]
            return super().write(data[:1000])

        def readinto(self, data: memoryview) -> int:  # type: ignore[override]
            return super().readinto(data[:777])

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda buffering: Slow(tmp_path / "slow", "w+"))
    model = tiny_classifier("bert").model
    before = weights(model)
    with set_aside(model):
        pass
    assert all(map(torch.equal, before, model.parameters()))
