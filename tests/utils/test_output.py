"""Where an output folder may stand."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from prune_env.agents.run_folder import check_new
from prune_env.errors import OutputExistsError, SettingsError
from prune_env.utils.files import new_folder, write_json
from prune_env.utils.output import check_free, check_writable, require_outside, try_place


def test_outside_is_outside(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    require_outside(tmp_path / "model-2", tmp_path / "model")
    require_outside(tmp_path / "out", "org/name-on-the-hub")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]  # asking makes no folder


@pytest.mark.parametrize("out", ["model/out", "model/a/b", "model", "model/../model/out", "link/x"])
def test_inside_is_refused(tmp_path: Path, out: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "link").symlink_to("model")
    with pytest.raises(OutputExistsError, match="inside the model's own folder"):
        require_outside(tmp_path / out, tmp_path / "model")


@pytest.mark.parametrize("name", ["a\0b", "a\udcff"])
def test_a_name_that_no_output_can_have(tmp_path: Path, name: str) -> None:
    for check in (check_free, try_place, lambda out: require_outside(out, tmp_path)):
        with pytest.raises(SettingsError, match="cannot be the name of an output"):
            check(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("x" * 300, "up to 235 bytes in each name. Actual: 300."),
        ("x" * 236, "up to 235 bytes in each name. Actual: 236."),
        ("é" * 118, "up to 235 bytes in each name. Actual: 236."),
        ("ab/" * 1400 + "c", "up to 4,075 bytes in the whole path. Actual: 4,"),
    ],
    ids=["long", "by one", "by bytes", "path"],
)
@pytest.mark.parametrize("check", [check_free, check_new, try_place])
def test_too_long_a_name_is_told_with_the_limit(
    tmp_path: Path, check: Callable[[Path], object], name: str, told: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        check(tmp_path / name)
    assert str(caught.value).startswith(f"The output {tmp_path}/{name[:100]}")
    assert told in str(caught.value)
    assert "prune-env-" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    with new_folder(tmp_path / ("x" * 235)):
        pass
    check_writable(tmp_path / ("y" * 235))
    write_json(tmp_path / ("y" * 235), {})
    with pytest.raises(SettingsError, match="up to 235 bytes"):
        check_writable(tmp_path / ("y" * 236))


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be the name of a file"):
        write_json(tmp_path / "a\0b.json", {})
    require_outside(tmp_path / "out", "a\0b")


@pytest.mark.parametrize("moved", [False, True])
def test_a_signal_while_a_place_is_tried_leaves_nothing(
    moved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty folder stayed, though nothing was said to be left."""
    replace = os.replace

    def interrupted(source: str, target: Path) -> None:
        if moved:
            replace(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        try_place(tmp_path / "out")
    assert not any(tmp_path.iterdir())
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        try_place(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_place_that_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("file/x", "file/below/x"):
        with pytest.raises(SettingsError, match=r"cannot be written.*Not a directory"):
            check_writable(tmp_path / place)
        with pytest.raises(SettingsError, match="cannot be written"):
            try_place(tmp_path / place)
    for place in ("file", "new/below/x"):
        check_writable(tmp_path / place)
    assert try_place(tmp_path / "new/below/x") == tmp_path.resolve() / "new/below/x"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
