"""What every verb answers to errors of the machine."""

import errno
import io
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from prune_env.__main__ import start
from prune_env.cli import main
from prune_env.cli.attack import Attack
from prune_env.cli.audit import Audit
from prune_env.cli.evaluate import Evaluate
from prune_env.cli.inspect import Inspect
from prune_env.cli.purify import Purify
from prune_env.cli.record import Record
from prune_env.cli.score import Score
from prune_env.cli.terminal import speaking_on
from prune_env.cli.train import Train
from prune_env.data.dataset import write_jsonl
from prune_env.errors import SettingsError
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


class PanicException(BaseException):
    """As the Rust libraries raise it."""


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug \x1b[31m"), KeyError("k"), RecursionError(), PanicException("p")]
)
def test_whatever_was_not_foreseen_is_one_message(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fail(self: Inspect) -> int:
        raise error

    monkeypatch.setattr(Inspect, "run", fail)
    assert main(["inspect", "x"]) == 2
    message = capsys.readouterr().err
    assert type(error).__name__ in message
    assert "report" in message
    assert "Traceback" not in message
    assert "\x1b" not in message
    assert main(["--debug", "inspect", "x"]) == main(["inspect", "x", "--debug"]) == 2
    assert capsys.readouterr().err.count("Traceback") == 2


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, **options
    )


def test_the_package_is_a_program_and_says_its_version() -> None:
    told = run("-m", "prune_env", "--version")
    assert (told.returncode, told.stdout) == (0, f"prune-env {version('prune-env')}\n")


def test_without_docstrings_the_program_runs() -> None:
    told = run("-OO", "-m", "prune_env", "list")
    assert told.returncode == 0, told.stderr
    assert "reward" in told.stdout


def test_a_list_that_took_the_model_is_named(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["purify", "--label-names", "bad", "good", "folder", "--data", "d", "--out", "o"])
    assert (
        "takes every word up to the next option: 'bad' 'good' 'folder'" in capsys.readouterr().err
    )


def test_a_list_that_took_nothing_else_is_not_blamed(capsys: pytest.CaptureFixture) -> None:
    named = ("--label-names", "bad", "good", "--data", "d", "--out", "o")
    with pytest.raises(SystemExit, match="2"):
        main(["purify", "folder", *named, "--speed", "9"])
    told = capsys.readouterr().err
    assert "--speed" in told
    assert "takes every word" not in told


STOPPED = """
import os, signal, sys, time
from prune_env.__main__ import start
from prune_env.cli import main
from prune_env.cli.attack import Attack
from prune_env.cli.audit import Audit
from prune_env.cli.evaluate import Evaluate
from prune_env.cli.inspect import Inspect
from prune_env.cli.purify import Purify
from prune_env.cli.record import Record
from prune_env.cli.score import Score
from prune_env.cli.terminal import speaking_on
from prune_env.cli.train import Train
def run(self):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT) * 5:
            os.kill(os.getpid(), number)
        time.sleep(0.05)
        print("unwound")
Inspect.run = run
sys.exit(main(["inspect", "x"]))
"""


def test_further_signals_are_ignored_while_the_first_one_unwinds() -> None:
    told = run("-c", STOPPED)
    assert told.returncode == 143, told.stderr
    assert told.stdout == "unwound\n"
    assert told.stderr == "Terminated: nothing half written was left.\n"


def test_a_signal_of_which_a_library_makes_an_error_is_still_a_signal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def run(self: Inspect) -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException:
            raise ValueError("could not determine the shape of a storage") from None
        return 0

    monkeypatch.setattr(Inspect, "run", run)
    assert main(["inspect", "x"]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "Terminated: nothing half written was left.\n"


def test_what_libraries_log_does_nothing_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def log(self: Inspect) -> int:
        logging.getLogger("prune_env.x").warning("a %s", "\x1b[2J\nforged")
        warnings.warn("\x1b]0;title", UserWarning, stacklevel=1)
        return 0

    monkeypatch.setattr(Inspect, "run", log)
    assert main(["inspect", "x"]) == 0
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert r"a \x1b[2J\nforged" in said


@pytest.mark.parametrize("seed", ["-1", str(2**32)])
def test_a_seed_that_a_library_cannot_take(seed: str, capsys: pytest.CaptureFixture) -> None:
    for options in (["--seed", seed], ["--seeds", "0", seed]):
        assert main(["train", "--out", "x", *options]) == 2
        assert "--seed is out of range" in capsys.readouterr().err


def test_names_are_neither_markup_nor_pictures(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal, bars included
    monkeypatch.chdir(tmp_path)
    name = "[x]:x:[red]"
    os.symlink(tiny_folder, name)
    write_jsonl(tmp_path / "clean.jsonl", tiny_dataset(40))
    assert main(["inspect", name]) == 0
    record = ["record", "--model", name, "--data", "clean.jsonl", "--rewards", "sparsity"]
    assert main([*record, "--masks", "2", "--out", f"{name}.npz"]) == 0
    assert main(["score", name]) == 2
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert name in text
        assert "\N{CROSS MARK}" not in text


def test_a_folder_that_cannot_be_made_is_named(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = tmp_path / "clean.jsonl"
    write_jsonl(data, tiny_dataset(40))
    arguments = ["purify", str(tiny_folder), "--data", str(data), "--out", str(data / "out")]
    assert main(arguments) == 2
    assert "clean.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize("threads", [1, 2])
def test_a_verb_computes_with_the_threads_that_were_asked_for(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    before = torch.get_num_threads()
    for verb in (Purify, Attack, Evaluate, Train, Audit, Record, Score):
        monkeypatch.setattr(verb, "run", lambda self: used.append(torch.get_num_threads()))
    arguments = {
        "purify": ["x", "--data", "y", "--out", "z"],
        "attack": ["--model", "x", "--data", "y", "--out", "z"],
        "evaluate": ["x", "--data", "y"],
        "train": ["--out", "z"],
        "audit": ["--model", "x", "--data", "y", "--out", "z"],
        "record": ["--model", "x", "--data", "y", "--out", "z"],
        "score": ["x"],
    }
    try:
        for verb_name, options in arguments.items():
            torch.set_num_threads(3)
            assert main([verb_name, *options, "--threads", str(threads)]) == 0
            assert main([verb_name, *options]) == 0  # as it is
    finally:
        torch.set_num_threads(before)
    assert used == 2 * len(arguments) * [threads]


@pytest.mark.parametrize("threads", ["0", "-1", "1025"])
def test_threads_out_of_range(threads: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["purify", "x", "--data", "y", "--out", "z", "--threads", threads])
    assert "threads is out of range" in capsys.readouterr().err


def test_a_signal_that_arrives_in_a_finaliser_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Python drops what is raised there."""

    class Group:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    def run(self: Inspect) -> int:
        Group()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            time.sleep(0.01)
        return 0

    monkeypatch.setattr(Inspect, "run", run)
    assert main(["inspect", "x"]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "Terminated: nothing half written was left.\n"


def test_ctrl_c_while_the_program_loads_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    class Interrupted:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "prune_env.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "prune_env.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert start() == 130
    assert capsys.readouterr().err == "Interrupted: nothing half written was left.\n"


def test_colours_of_a_library_are_no_part_of_a_warning() -> None:
    terminal = Console(file=io.StringIO(), width=200)
    with speaking_on(terminal):
        warnings.warn("\x1b[33mWARN: an old environment\x1b[0m", UserWarning, stacklevel=1)
    assert "WARN: an old environment" in terminal.file.getvalue()
    assert "x1b" not in terminal.file.getvalue()


def test_an_error_tells_its_cause_without_the_remedy_of_that() -> None:
    cause = SettingsError("It is old", expected="new", actual="old", remedy="make it anew")
    error = SettingsError("It cannot be read", actual=cause, remedy="choose another")
    told = (
        "It cannot be read. Actual: It is old. Expected: new. Actual: old. Remedy: choose another."
    )
    assert str(error) == told
