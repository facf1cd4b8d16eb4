"""Model folders whose files are not the model's own."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prune_env.cli import main
from prune_env.errors import ModelError, UnsafeModelError
from prune_env.models import (
    head_shape,
    inspect_source,
    load_classifier,
    load_pruned,
)
from prune_env.models.ensemble import make_ensemble
from prune_env.models.folder import find_misplaced
from prune_env.models.processor import SAVED_FILES
from prune_env.purification import load_ensemble
from tests.models.exports import save_ensemble, save_sliced, save_zeroed
from tests.models.hostile import edit_json
from tests.models.tiny import SIZES, write_tiny

SECRET = "the canary's secret"
MASK = np.array([[True, False, True, True], [False, True, True, False]])


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secrets" / "key"
    path.parent.mkdir()
    path.write_text(SECRET)
    return path


def link(path: Path, target: Path | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize(
    "name",
    [
        "chat_template.jinja",
        "additional_chat_templates/one.jinja",
        "added_tokens.json",
        "config.json",
        "model.safetensors",
        "model-00001-of-00002.safetensors",
        "tokenizer.json",
        "README.md",
        "a/b/c/notes.txt",
        "sliced.json",
        "ensemble.json",
    ],
)
def test_a_link_out_of_the_folder_is_refused_by_name(
    folder: Path, secret: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    link(folder / name, secret)
    for load in (load_classifier, head_shape, load_pruned):
        with pytest.raises(UnsafeModelError, match=f"'{name}'.*Remedy"):
            load(folder)
    report = inspect_source(folder)
    assert report.unsafe == 1
    assert name in report.problems[0]
    assert name not in [file.name for file in report.files]  # nor is it hashed
    assert main(["inspect", str(folder)]) == 1
    assert SECRET not in capsys.readouterr().out


@pytest.mark.parametrize(
    "target",
    [
        "../secrets/key",
        "second",
        "../secrets",
        "../secrets/none",
        "x",
        "../model-other/key",
        "/dev/zero",
        "self/../secrets/key",
    ],
)
def test_every_way_out_is_found(folder: Path, secret: Path, target: str) -> None:
    """A chain of links, a folder, nothing, the link itself, a name that begins like the folder."""
    link(folder / "x", target)
    if target == "second":
        link(folder / "second", secret)
    if target.startswith("self"):
        link(folder / "self", ".")
    with pytest.raises(UnsafeModelError, match="'x'"):
        load_classifier(folder)


def test_links_within_the_folder_are_its_own(folder: Path, tmp_path: Path) -> None:
    before = load_classifier(folder)
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    link(folder / "model.safetensors", "weights.safetensors")
    load_classifier(folder)
    link(tmp_path / "elsewhere", folder)  # the user's own choice
    assert load_classifier(tmp_path / "elsewhere").sha256 != before.sha256  # one file more


def test_a_cache_of_the_hub_holds_links(folder: Path, secret: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--x--y"
    snapshot = repository / "snapshots" / "0123"
    shutil.copytree(folder, repository / "blobs")
    for path in (repository / "blobs").iterdir():
        link(snapshot / path.name, f"../../blobs/{path.name}")
    assert load_classifier(snapshot).sha256 == load_classifier(folder).sha256
    assert not inspect_source(snapshot).problems
    other = tmp_path / "models--x--z" / "blobs" / "1"
    other.parent.mkdir(parents=True)
    other.write_text(SECRET)
    for target in (secret, other):
        link(snapshot / "chat_template.jinja", target)
        with pytest.raises(UnsafeModelError, match="chat_template"):
            load_classifier(snapshot)


@pytest.mark.parametrize("place", ["x/snapshots/0123", "models--x--y/other/0123"])
def test_what_looks_like_a_cache_of_the_hub_holds_no_links(tmp_path: Path, place: str) -> None:
    snapshot = tmp_path / place
    blob = snapshot.parent.parent / "blobs" / "1"
    blob.parent.mkdir(parents=True)
    blob.write_text(SECRET)
    link(snapshot / "config.json", "../../blobs/1")
    (problem,) = find_misplaced(snapshot)
    assert isinstance(problem, UnsafeModelError)


def test_all_that_is_misplaced_is_counted_and_some_of_it_named(
    secret: Path, tmp_path: Path
) -> None:
    """In folders beside and below each other, and links do not hide what is no file."""
    folder = tmp_path / "model"
    for name in ("f", "e/1", "d/1/2", "c", "b/1", "b/2", "a"):
        link(folder / name, secret)
    os.mkfifo(folder / "d" / "1" / "pipe")
    links, odd = find_misplaced(folder)
    assert "out of it: 'a', 'b/1', 'b/2', 'c', 'd/1/2' and 2 more." in str(links)
    assert "what is no file: 'd/1/pipe (a FIFO)'." in str(odd)
    for name in ("f", "c"):
        (folder / name).unlink()
    links, _ = find_misplaced(folder)
    assert "out of it: 'a', 'b/1', 'b/2', 'd/1/2', 'e/1'." in str(links)


@pytest.mark.parametrize("name", ["model-0", "mask-0.json", "model-0/chat_template.jinja"])
def test_a_link_in_an_ensemble_is_refused(
    folder: Path, secret: Path, tmp_path: Path, name: str
) -> None:
    loaded = load_classifier(folder)
    save_ensemble(make_ensemble(loaded, [loaded.model], [MASK]), tmp_path / "out")
    target = secret
    if "/" not in name:
        target = (tmp_path / "out" / name).rename(tmp_path / "moved")
    link(tmp_path / "out" / name, target)
    with pytest.raises(UnsafeModelError, match=name):
        load_ensemble(tmp_path / "out")
    report = inspect_source(tmp_path / "out")
    assert (report.unsafe, report.members) == (1, 0)


EXPORTS: dict[str, Callable[[Path, Path], None]] = {
    "zeroed": lambda folder, out: save_zeroed(load_classifier(folder), MASK, out),
    "sliced": lambda folder, out: save_sliced(load_classifier(folder), MASK, out),
    "ensemble": lambda folder, out: save_ensemble(
        make_ensemble(loaded := load_classifier(folder), [loaded.model], [MASK]), out
    ),
}


@pytest.mark.parametrize("export", EXPORTS)
def test_an_export_holds_known_files_alone(folder: Path, tmp_path: Path, export: str) -> None:
    for name in ("chat_template.jinja", "additional_chat_templates/one.jinja", "notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(SECRET)
    EXPORTS[export](folder, tmp_path / "out")
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    known = {*SAVED_FILES, "README.md", "config.json", "model.safetensors", "sliced.json"}
    assert {path.name for path in written} <= {*known, "mask.json", "mask-0.json", "ensemble.json"}
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]


@pytest.mark.parametrize("model_type", [name for name in SIZES if name not in ("vit", "clip")])
def test_no_key_of_a_config_brings_a_file_into_an_export(
    model_type: str, secret: Path, tmp_path: Path
) -> None:
    """Slow tokenizers copy the file that `vocab_file` names."""
    folder = write_tiny(model_type, tmp_path / "m")
    keys = "vocab_file tokenizer_file merges_file spm_file sp_model_file chat_template_file"
    change = dict.fromkeys(keys.split(), str(secret))
    edit_json(folder / "tokenizer_config.json", lambda content: content.update(change))
    try:
        loaded = load_classifier(folder)
    except ModelError:
        return
    shape = head_shape(folder)
    save_zeroed(loaded, np.ones(shape, bool), tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        assert SECRET.encode() not in path.read_bytes(), path.name
