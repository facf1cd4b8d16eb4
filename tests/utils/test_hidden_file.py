"""Files that are written beside their place: what failures and killed writers leave."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prune_env.utils.files import write_bytes


def test_a_disk_that_is_full_is_told_with_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")  # the system names no file

    path = tmp_path / "r.npz"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space") as caught:
            write_bytes(path, b"half")
    assert caught.value.filename == str(path)
    assert not any(tmp_path.iterdir())
    path.mkdir()
    with pytest.raises(OSError, match="directory") as caught:
        write_bytes(path, b"whole")
    assert caught.value.filename == str(path)  # not the hidden one


WRITING = """
import os, signal, sys
from prune_env.utils.files import write_bytes
def stop(_):
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    print("ready", flush=True)
    sys.stdin.read()
os.fsync = stop
write_bytes(sys.argv[1], b"half")
"""


def test_what_a_killed_writer_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    command = [sys.executable, "-c", WRITING, str(path)]
    assert subprocess.run([*command, "die"], check=False).returncode == -signal.SIGKILL
    (dead,) = tmp_path.iterdir()
    others = [tmp_path / ".r.npz.20240131", tmp_path / f".s{dead.name[2:]}"]  # not ours
    for each in others:
        each.touch()
        os.utime(each, (0, 0))
    write_bytes(path, b"whole")
    assert dead.exists()  # it is new: its writer may be about to lock it
    os.utime(dead, (0, 0))
    with subprocess.Popen(
        [*command, "live"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as living:
        assert living.stdout is not None
        assert living.stdout.readline() == "ready\n"
        assert not dead.exists()
        (held,) = set(tmp_path.iterdir()) - {path, *others}
        os.utime(held, (0, 0))
        write_bytes(path, b"again")
        assert held.exists()
        living.communicate("")
    assert path.read_bytes() == b"half"
    assert set(tmp_path.iterdir()) == {path, *others}
