"""The program in terminals and pipes that are not everybody's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Run the program in a process of its own, without the width of this terminal."""
    kept = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = [sys.executable, "-m", "prune_env", *arguments]
    return subprocess.run(command, env=kept | environment, capture_output=True, check=False)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_name_that_the_output_cannot_spell_is_escaped(
    encoding: str, tiny_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "модель-🎉")
    told = run("inspect", str(folder), PYTHONIOENCODING=encoding, COLUMNS="500")
    assert told.returncode == 0, told.stderr
    assert "модель-🎉".encode("ascii", "backslashreplace") in told.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["report", "--help"], ["list"]])
def test_a_width_of_no_columns_hides_nothing(arguments: list[str]) -> None:
    """A shell exports it that was told no size, as in a container."""
    shown = run(*arguments)
    assert shown.returncode == 0
    assert len(shown.stdout) > 500
    assert run(*arguments, COLUMNS="0").stdout == shown.stdout
