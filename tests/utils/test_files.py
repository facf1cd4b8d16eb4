import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prune_env.errors import OutputExistsError, SettingsError, StateError
from prune_env.utils.files import (
    HASHES,
    made_once,
    new_folder,
    read_json,
    sha256_of,
    shaped,
    write_bytes,
    write_json,
)
from prune_env.utils.full_disk import wanted
from prune_env.utils.output import try_place, umask


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(TypeError):
        write_bytes(path, "not bytes")  # type: ignore[arg-type]
    assert read_json(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["value.json"]


def test_sha256_is_of_the_bytes(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x", b"abc")
    assert sha256_of(tmp_path / "x").startswith("ba7816bf8f01cfea")


@pytest.mark.parametrize(
    "content",
    [None, b"", b"{", b"\xff", b"[" * 99_999, b"9" * 9999],
    ids=lambda content: str(content)[:9],
)
def test_a_damaged_json_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "value.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StateError, match=r"value\.json"):
        read_json(path)


@pytest.mark.parametrize("error", [KeyError("a"), TypeError("b"), ValueError("c"), EOFError()])
def test_a_file_of_another_shape_is_named(error: Exception) -> None:
    said = r"x\.json has not the shape of a plan.*Remedy"
    with pytest.raises(StateError, match=said), shaped(Path("x.json"), "a plan"):
        raise error


@pytest.mark.parametrize("error", [SettingsError("own"), OSError(28, "full"), KeyboardInterrupt()])
def test_what_is_no_fault_of_the_shape_passes(error: BaseException) -> None:
    with pytest.raises(type(error)), shaped(Path("x.json"), "a plan"):
        raise error


def test_a_folder_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with new_folder(out) as folder:
        (folder / "file").write_text("x")
        assert not out.exists()
    assert (out / "file").read_text() == "x"
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]


def test_a_failure_leaves_no_folder(tmp_path: Path) -> None:
    def interrupted() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "file").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_full_disk_is_told_with_the_name_that_was_asked_for(tmp_path: Path, number: int) -> None:
    def full() -> None:
        with new_folder(tmp_path / "out") as folder:
            raise OSError(number, os.strerror(number), str(folder / "part"))

    with pytest.raises(OSError, match="out") as raised:
        full()
    assert raised.value.filename == str(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_is_made_hidden_is_called_by_its_name(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out.v1") as folder:
        assert folder != tmp_path / "out.v1"
        assert wanted(folder / "model-0") == tmp_path / "out.v1" / "model-0"
    assert wanted(tmp_path / ".prune-env") == tmp_path / ".prune-env"


def test_an_empty_folder_may_be_filled_and_another_may_not(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("x")
    with pytest.raises(OutputExistsError, match="out exists"), new_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "file").read_text() == "x"


def test_what_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def overtaken() -> None:
        with new_folder(out) as folder:
            (folder / "file").write_text("mine")
            out.mkdir()
            (out / "file").write_text("another process's")

    with pytest.raises(OutputExistsError):
        overtaken()
    assert (out / "file").read_text() == "another process's"


def test_written_json_ends_with_a_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", [1])
    text = (tmp_path / "x.json").read_text()
    assert text.endswith("\n")
    assert json.loads(text) == [1]


def test_what_is_written_has_the_mode_that_the_umask_asks_for(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {})
    write_json(tmp_path / "b.json", {}, private=True)
    with new_folder(tmp_path / "out") as folder:
        (folder / "deep").mkdir(mode=0o700)
        for name in ("c", "deep/d"):
            (folder / name).touch(0o600)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o666 & ~umask()
    assert (tmp_path / "b.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "out" / "deep" / "d").stat().st_mode & 0o777 == 0o666 & ~umask()
    assert (tmp_path / "out" / "deep").stat().st_mode & 0o777 == 0o777 & ~umask()


def test_a_place_in_use_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in (".", str(tmp_path / "here")):
        with pytest.raises(OutputExistsError, match="started in"), new_folder(name):
            raise AssertionError("the work began")

    def busy(*_: object) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr("os.replace", busy)
    with pytest.raises(OutputExistsError, match="busy"), new_folder(tmp_path / "mounted"):
        raise AssertionError("the work began")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    with new_folder(tmp_path / "out") as folder:
        (folder / "file").touch()
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["file"]
    assert (tmp_path / "out").is_symlink()


def test_an_empty_folder_keeps_its_mode(tmp_path: Path) -> None:
    out = tmp_path / "private"
    out.mkdir(mode=0o700)
    try_place(out)
    assert out.stat().st_mode & 0o777 == 0o700
    with new_folder(out) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "deep").mkdir(mode=0o700)
    assert out.stat().st_mode & 0o777 == 0o700
    assert (out / "deep").stat().st_mode & 0o777 == 0o777 & ~umask()


KILLED = """
import os, signal, sys
from prune_env.utils.files import new_folder
with new_folder(sys.argv[1]) as folder:
    (folder / "half").touch()
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_goes_and_what_a_living_one_fills_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(out)]
    assert subprocess.run([*command, "die"], check=False).returncode == -signal.SIGKILL
    (dead,) = tmp_path.iterdir()
    (tmp_path / ".out.20240131").mkdir()  # not ours
    with subprocess.Popen(
        [*command, "live"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as living:
        assert living.stdout is not None
        assert living.stdout.readline() == "ready\n"
        assert not dead.exists()
        (held,) = (path for path in tmp_path.iterdir() if path.name != ".out.20240131")
        with pytest.raises(OutputExistsError, match="is making it"):
            try_place(out)
        assert try_place(out, shared=True) == out.resolve()
        assert held.exists()
        living.communicate("")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.20240131", "out"]


def test_of_several_writers_the_first_one_wins_where_it_should(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", 1, first=True)
    write_json(tmp_path / "x.json", 2, first=True)
    assert read_json(tmp_path / "x.json") == 1
    write_json(tmp_path / "x.json", 3)
    assert read_json(tmp_path / "x.json") == 3
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_the_first_one_wins_on_a_file_system_without_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []

    def refuse(_: object, to: object) -> None:
        refused.append(to)
        raise PermissionError("links")

    monkeypatch.setattr("os.link", refuse)
    test_of_several_writers_the_first_one_wins_where_it_should(tmp_path)
    assert refused == [tmp_path / "x.json"] * 2


def test_who_makes_a_folder_too_late_takes_the_one_that_is_there(tmp_path: Path) -> None:
    """As a machine that slept longer than its lease."""

    def fill(folder: Path) -> None:
        (folder / "who").write_text("late")
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "who").write_text("early")

    made_once(tmp_path / "x", fill)
    assert (tmp_path / "x" / "who").read_text() == "early"


def test_an_empty_folder_of_the_cache_is_filled(tmp_path: Path) -> None:
    place = tmp_path / "made"
    place.mkdir()
    made_once(place, lambda folder: write_json(folder / "a.json", 1))
    assert read_json(place / "a.json") == 1
    assert list(read_json(place / HASHES)) == ["a.json"]


def test_files_without_hashes_are_taken_as_they_are_and_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_json(tmp_path / "made" / "a.json", 1)
    for _ in range(2):
        made_once(tmp_path / "made", lambda folder: write_json(folder / "a.json", 2))
    assert read_json(tmp_path / "made" / "a.json") == 1
    assert [each.levelname for each in caplog.records] == ["WARNING"]  # the first time alone
    assert "delete the folder" in caplog.text
