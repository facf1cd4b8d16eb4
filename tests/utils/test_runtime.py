import io
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console

from prune_env.errors import SettingsError
from prune_env.utils import progress, runtime
from prune_env.utils.source import source_of


@pytest.mark.parametrize(("there", "picked"), [(False, "cpu"), (True, "cuda")])
def test_a_gpu_is_taken_where_there_is_one(
    there: bool, picked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert runtime.pick_device().type == picked


def test_precision_auto_follows_the_hardware(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu, flags = torch.device("cpu"), tmp_path / "cpuinfo"
    monkeypatch.delenv(runtime.VARIABLE, raising=False)
    monkeypatch.setattr(runtime, "Path", lambda name: flags)
    assert not runtime.use_bf16("auto", cpu)
    for text, fast in (("flags: avx2 avx512_bf16", True), ("flags: avx2", False)):
        flags.write_text(text)
        assert runtime.use_bf16("auto", cpu) is fast
    assert runtime.use_bf16("bf16", cpu)
    assert not runtime.use_bf16("fp32", cpu)


def test_auto_can_be_told_what_it_means(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(runtime, "processor_has_bf16", lambda: True)
    monkeypatch.setenv(runtime.VARIABLE, "fp32")
    assert not runtime.use_bf16("auto", cpu)
    with runtime.auto_means("bf16"), runtime.auto_means("auto"):
        assert runtime.use_bf16("auto", cpu)
        assert not runtime.use_bf16("fp32", cpu)
    assert not runtime.use_bf16("auto", cpu)
    monkeypatch.setenv(runtime.VARIABLE, "fp16")
    with pytest.raises(SettingsError, match=r"auto, bf16, fp32.*fp16"):
        runtime.use_bf16("auto", cpu)


def test_a_description_names_versions_and_machine() -> None:
    meta = runtime.describe()
    assert meta["versions"]["torch"] == torch.__version__.split("+")[0] or "+" in torch.__version__
    assert meta["machine"]["threads"] >= 1


def test_a_description_names_the_source_where_there_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(runtime.__file__).parents[1]
    here = runtime.describe()["source"]
    exported = shutil.copytree(package, tmp_path / "prune_env")  # links become folders
    monkeypatch.setattr(runtime, "ROOT", exported)
    meta = runtime.describe()
    assert (meta["commit"], meta["source"]) == ("", here)
    assert len(here) == 12


def test_the_source_follows_names_and_bytes_of_every_module(tmp_path: Path) -> None:
    def source(name: str, files: dict[str, str]) -> str:
        for path, text in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text)
        return source_of(tmp_path / name)

    files = {"a.py": "1", "inner/b.py": "2"}
    first = source("first", files)
    assert source("equal", {**files, "inner/notes.txt": "3"}) == first
    others = (
        {"a.py": "1", "inner/b.py": "3"},
        {"a.py": "1", "inner/c.py": "2"},
        {"a.py": "1", "b.py": "2"},
        {"a.py": "1"},
    )
    hashes = {source(f"other-{number}", each) for number, each in enumerate(others)}
    assert len(hashes - {first}) == 4
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a.py").write_text("1")
    (tmp_path / "linked" / "inner").symlink_to(tmp_path / "first" / "inner")
    assert source_of(tmp_path / "linked") == first


def test_progress_is_silent_until_it_is_switched_on(capfd: pytest.CaptureFixture) -> None:
    with progress.progress("Counting", 2) as advance:
        advance(1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_a_bar_on_a_terminal_and_a_line_in_a_log(terminal: bool) -> None:
    out = io.StringIO()
    progress.show_on(Console(file=out, force_terminal=terminal, width=80))
    try:
        with progress.progress("Counting", 2) as advance:
            advance(2)
    finally:
        progress.show_on(None)
    assert "Counting" in out.getvalue()
    assert ("2/2" in out.getvalue()) is terminal


def test_what_runs_inside_a_bar_draws_none_of_its_own() -> None:
    out = io.StringIO()
    progress.show_on(Console(file=out, force_terminal=False, width=80))
    try:
        with progress.progress("Outer", 2), progress.progress("Inner", 2) as advance:
            advance(1)
        with pytest.raises(KeyError), progress.progress("Broken", 2):
            raise KeyError
        with progress.progress("After", 2):
            pass
    finally:
        progress.show_on(None)
    assert out.getvalue().split("\n")[:-1] == ["Outer ...", "Broken ...", "After ..."]
