import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from prune_env.utils import leases
from prune_env.utils.leases import locked, silent_s


def test_a_lock_leaves_no_file(tmp_path: Path) -> None:
    with locked(tmp_path / "x") as held:
        assert held
        assert (tmp_path / "x.lock").exists()
        with locked(tmp_path / "x", wait=False) as again:
            assert not again
    assert list(tmp_path.iterdir()) == []


def test_one_process_at_a_time_holds_a_lock_whose_file_goes(tmp_path: Path) -> None:
    """Each adds 1 to a number that it reads first; where two hold the lock, some are lost."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom prune_env.utils.leases import locked\n"
        "number = Path(sys.argv[1])\n"
        "for _ in range(100):\n"
        "    with locked(number):\n"
        "        number.write_text(str(int(number.read_text()) + 1))\n"
    )
    number = tmp_path / "number"
    number.write_text("0")
    programs = [subprocess.Popen([sys.executable, "-c", code, str(number)]) for _ in range(3)]
    assert [program.wait() for program in programs] == [0, 0, 0]
    assert number.read_text() == "300"
    assert [path.name for path in tmp_path.iterdir()] == ["number"]


HOLD = (
    "import sys, time\nfrom pathlib import Path\nfrom prune_env.utils.leases import locked\n"
    "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(100)\n"
)


def killed_holder(path: Path) -> None:
    """Let a process take the lease of `path`, and kill it."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with locked(path, wait=False) as held:
            assert not held
        holder.send_signal(signal.SIGKILL)


def test_the_lease_of_a_process_that_was_killed_is_free_at_once(tmp_path: Path) -> None:
    killed_holder(tmp_path / "x")
    with locked(tmp_path / "x", wait=False) as held:
        assert held


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to tell a zombie by")
def test_the_lease_of_a_process_that_ends_while_waited_for_and_is_not_collected_is_free(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "x")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        end = threading.Timer(0.3, holder.send_signal, [signal.SIGKILL])
        end.start()
        with locked(tmp_path / "x", wait=30) as held:  # it stays a zombie until `with` collects it
            assert held
        end.join()


def test_the_lease_of_another_machine_that_died_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, file = tmp_path / "x", tmp_path / "x.lock"
    monkeypatch.setattr(leases, "LEASE_S", 0.6)
    with locked(path):
        marker = file.read_text()
    elsewhere = "\n".join(
        "host=elsewhere" if line.startswith("host=") else line for line in marker.splitlines()
    )
    file.write_text(elsewhere + "\n")
    started = time.monotonic()
    while True:  # as workers ask for a cell again and again
        with locked(path, wait=False) as held:
            if held:
                break
        time.sleep(0.05)
    assert 0.5 < time.monotonic() - started < 5


def test_who_holds_a_lease_keeps_it_however_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 0.6)
    with locked(tmp_path / "x"), locked(tmp_path / "x", wait=1.5) as again:
        assert not again


def test_waiting_is_worth_it_for_a_silent_holder_alone(tmp_path: Path) -> None:
    assert silent_s(tmp_path / "x") == 0
    with locked(tmp_path / "x"):
        assert silent_s(tmp_path / "x") == 0
        long_ago = time.time() - 100
        os.utime(tmp_path / "x.lock", (long_ago, long_ago))
        assert silent_s(tmp_path / "x") > leases.LEASE_S


def test_an_empty_lock_that_an_older_release_left_is_no_holder(tmp_path: Path) -> None:
    left = tmp_path / "x.lock"
    left.touch()
    with locked(tmp_path / "x", wait=False) as held:
        assert not held  # it may have been made this moment
    os.utime(left, (0, 0))
    with locked(tmp_path / "x", wait=False) as held:
        assert held


def test_one_that_was_killed_before_it_wrote_its_name_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 0.6)
    (tmp_path / "x.lock").touch()
    with locked(tmp_path / "x") as held:
        assert held


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to tell a zombie by")
def test_a_zombie_that_has_the_number_of_another_holder_frees_no_lease(tmp_path: Path) -> None:
    file = tmp_path / "x.lock"
    with subprocess.Popen(["true"]) as ended:
        stat = Path(f"/proc/{ended.pid}/stat")
        while b") Z " not in stat.read_bytes():
            time.sleep(0.01)
        ticks = int(stat.read_bytes().rpartition(b")")[2].split()[19])
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", "")
        for later in (1, 0):
            file.write_text(f"pid={ended.pid}\nstart={int(boot, 16) << 64 | ticks + later}\n")
            leases._remove_of_zombie(file)
            assert file.exists() == bool(later)
