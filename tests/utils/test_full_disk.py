"""What a full disk is told by, and where it is said to be."""

import errno
import os
from pathlib import Path

import pytest

from prune_env.errors import SettingsError
from prune_env.utils import full_disk
from prune_env.utils.full_disk import disk_told, tells_full_disk


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), True),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), True),
        # Of safetensors, whose errors are no OSErrors.
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),
        (SettingsError("x cannot be written", actual="out: No space left on device"), True),
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), False),
        (OSError("No space"), False),
        (ValueError("no luck"), False),
    ],
)
def test_a_full_disk_is_told_from_other_errors(error: Exception, full: bool) -> None:
    assert tells_full_disk(error) == full


@pytest.mark.parametrize("elsewhere", [False, True])
def test_another_disk_is_called_by_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    cache = tmp_path / "cache" / "models"
    monkeypatch.setattr(full_disk, "_disk_of", lambda path: int(elsewhere and path == cache))

    def fill() -> None:
        with disk_told(tmp_path / "run"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(cache))

    with pytest.raises(OSError, match="No space") as raised:
        fill()
    assert raised.value.filename == str(cache if elsewhere else tmp_path / "run")


def test_the_disk_of_what_is_not_there_yet_is_that_of_the_folder_above(tmp_path: Path) -> None:
    assert full_disk._disk_of(tmp_path / "a" / "b") == tmp_path.stat().st_dev
