"""What the verb `score` says of what is wrong around it."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import run


@pytest.mark.parametrize("kept", [False, True])
def test_a_full_disk_is_told_with_what_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    kept: bool,
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("prune_env.research.score.scoring.score", full)
    out = ["--out", tmp_path / "out"] if kept else []
    assert run("score", "random", *out) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"{tmp_path / 'out' if kept else 'A file'} cannot be read or written" in told
    assert ("the same command goes on" in told) == kept


@pytest.mark.parametrize("target", ["nowhere.json", "masks.json"])
def test_masks_that_lead_nowhere_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture, target: str
) -> None:
    (tmp_path / "masks.json").symlink_to(target)
    assert run("score", tmp_path) == 2
    assert "masks.json" in capsys.readouterr().err
