"""What every verb answers to errors of the machine."""

import errno
from pathlib import Path

import pytest
import torch

from prune_env.cli import main
from prune_env.cli.inspect import Inspect
from prune_env.data.dataset import write_jsonl
from tests.support import tiny_dataset


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "out/model"), "No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), "/root/x cannot be read"),
        (MemoryError(), "not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
    ],
    ids=str,
)
def test_an_error_of_the_machine_is_one_message(
    error: Exception, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fail(self: Inspect) -> int:
        raise error

    monkeypatch.setattr(Inspect, "run", fail)
    assert main(["inspect", "x"]) == 2
    message = capsys.readouterr().err
    assert hint in message
    assert "Remedy" in message
    assert "Traceback" not in message


def test_an_error_of_the_program_keeps_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Inspect) -> int:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Inspect, "run", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["inspect", "x"])


def test_a_folder_that_cannot_be_made_is_named(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = tmp_path / "clean.jsonl"
    write_jsonl(data, tiny_dataset(40))
    arguments = ["purify", str(tiny_folder), "--data", str(data), "--out", str(data / "out")]
    assert main(arguments) == 2
    assert "clean.jsonl" in capsys.readouterr().err
