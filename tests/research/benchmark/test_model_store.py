import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest

from prune_env.data.dataset import Splits
from prune_env.errors import StateError
from prune_env.research.benchmark.config import read_config
from prune_env.research.benchmark.model_store import ModelStore, shared
from prune_env.research.benchmark.runner import RunSettings, run_benchmark
from prune_env.research.benchmark.workbench import Workbench
from prune_env.utils.bundle import pack, unpack
from prune_env.utils.files import made_once
from tests.research.benchmark.support import write_grid
from tests.support import tiny_dataset


@pytest.fixture(params=["a folder", "file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
        return "memory://models"
    return f"file://{tmp_path}/store" if request.param == "file" else str(tmp_path / "store")


def fill(folder: Path) -> None:
    (folder / "part").mkdir()
    (folder / "part" / "weights").write_bytes(b"weights")
    (folder / "note").write_text("made")


def make(url: str, root: Path) -> None:
    with shared(ModelStore(url), "models/x", root) as parts:
        made_once(root / "x", fill)
        parts.append("x")


def test_a_place_that_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    ModelStore(str(tmp_path / "shared")).try_out()
    assert not [path for path in (tmp_path / "shared").rglob("*") if path.is_file()]
    taken = tmp_path / "file"
    taken.write_text("in the way")
    grid = read_config(write_grid(tmp_path, ["gradient"]))
    clean = Splits(*(tiny_dataset(8, seed) for seed in range(3)))
    for url, said in ((f"{taken}/x", "cannot be used"), ("nofs://x/y", "Protocol not known")):
        with pytest.raises(StateError, match=said):
            run_benchmark(grid, clean, tmp_path / "out", RunSettings(store=url))
        assert not (tmp_path / "out").exists()


def test_what_one_cache_made_another_one_fetches(url: str, tmp_path: Path) -> None:
    make(url, tmp_path / "one")
    with shared(ModelStore(url), "models/x", tmp_path / "two"):
        assert (tmp_path / "two" / "x" / "part" / "weights").read_bytes() == b"weights"
    made_once(tmp_path / "two" / "x", fill)  # with its hashes
    assert ModelStore(url).fetch("models/y") is None


def test_a_file_that_was_edited_in_the_store_is_noticed(url: str, tmp_path: Path) -> None:
    make(url, tmp_path / "one")
    files, root = fsspec.core.url_to_fs(url)
    (weights,) = (path for path in files.find(root) if files.cat_file(path) == b"weights")
    files.pipe_file(weights, b"evil")
    with pytest.raises(StateError, match="not as it was made"):
        make(url, tmp_path / "two")
    assert not (tmp_path / "two" / "x").exists()
    make(url, tmp_path / "one")  # what is at hand is not fetched


def test_a_list_that_names_files_elsewhere_is_refused(url: str, tmp_path: Path) -> None:
    ModelStore(url).keep("models/x", {"../x": np.zeros(1, np.uint8)})
    with pytest.raises(StateError, match="outside its folder"):
        make(url, tmp_path / "one")
    assert not (tmp_path / "x").exists()


def test_a_maker_that_was_killed_leaves_no_half_bundle(tmp_path: Path) -> None:
    """The list of the files comes last: without it there is nothing."""
    code = (
        "import os, sys; from pathlib import Path\n"
        "from prune_env.research.benchmark.model_store import ModelStore\n"
        "from prune_env.utils.bundle import pack\n"
        "ModelStore._list = lambda *_: os.kill(os.getpid(), 9)\n"
        "ModelStore(sys.argv[1]).keep('models/x', pack(Path(sys.argv[2])))\n"
    )
    url, folder = str(tmp_path / "store"), tmp_path / "x"
    folder.mkdir()
    fill(folder)
    command = [sys.executable, "-c", code, url, str(folder)]
    assert subprocess.run(command, check=False).returncode == -9
    assert len(list((tmp_path / "store").rglob("files/*/*"))) == 2
    assert ModelStore(url).fetch("models/x") is None
    ModelStore(url).keep("models/x", pack(folder))
    assert set(ModelStore(url).fetch("models/x") or ()) == {"note", "part/weights"}


@pytest.mark.parametrize("url", ["nosuch://models", "/proc/nowhere/models"])
def test_a_store_that_cannot_be_used_is_named(url: str) -> None:
    with pytest.raises(StateError, match=r"nosuch|nowhere"):
        ModelStore(url).keep("models/x", {})


def test_a_bundle_comes_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    made_once(tmp_path / "a" / "x", fill)
    (tmp_path / "a" / "x" / "later.npy").write_bytes(b"1")
    unpack(pack(tmp_path / "a"), tmp_path / "b")
    unpack(pack(tmp_path / "a"), tmp_path / "b")  # harmless

    def bytes_of(folder: Path) -> dict[str, bytes]:
        return {path: data.tobytes() for path, data in pack(folder).items() if "sha256" not in path}

    assert bytes_of(tmp_path / "b") == bytes_of(tmp_path / "a")
    made_once(tmp_path / "b" / "x", fill)


def test_models_are_trained_once_for_two_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_config(write_grid(tmp_path, ["random"]))
    clean = Splits(*(tiny_dataset(60, seed) for seed in range(3)))
    store = ModelStore(str(tmp_path / "store"))

    def rows(name: str) -> list[tuple[float | None, ...]]:
        bench = Workbench(clean, tmp_path / name, cache=tmp_path / f"{name}-cache", store=store)
        results = [bench.run(cell).row for cell in config.cells()]
        return [(row.acc, row.lfr, row.floor) for row in results]

    first = rows("one")
    monkeypatch.setattr("prune_env.research.benchmark.workbench.fine_tune_suspicious", None)
    monkeypatch.setattr("prune_env.research.attacks.training.fine_tune", None)
    assert rows("two") == first
