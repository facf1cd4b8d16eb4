"""Tables and images of strangers are judged before the work, and odd ones in plain words."""

import io
import json
import os
import struct
import time
import warnings
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prune_env.data.dataset import TextDataset
from prune_env.data.images import open_image, read_images
from prune_env.data.loading import load_data
from prune_env.data.readers import read_table
from prune_env.data.unlabelled import read_unlabelled
from prune_env.errors import DataError, SettingsError
from prune_env.utils import limits


@pytest.fixture(autouse=True)
def _watched() -> Iterator[None]:
    started = time.perf_counter()
    yield
    assert time.perf_counter() - started < 20


def written(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
def test_a_table_of_great_size_is_not_read(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(DataError, match=r"too large.*PRUNE_ENV_MAX_TABLE_BYTES"):
        read_table(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.tsv", "sentence\tlabel\n"), ("a.csv", "sentence,label\n"), ("a.jsonl", "")],
)
def test_a_long_text(tmp_path: Path, name: str, start: str) -> None:
    long = "word " * (limits.TEXT.value // 4)
    row = {"a.tsv": f"{long}\t1", "a.csv": f"{long},1"}.get(name)
    row = row or json.dumps({"sentence": long, "label": 1})
    good = {"a.tsv": "fine\t0", "a.csv": "fine,0"}.get(name, '{"sentence": "fine", "label": 0}')
    path = written(tmp_path / name, f"{start}{good}\n{row}\n")
    with pytest.raises(DataError, match=r"2,000,000|field limit"):
        read_table(path)


def test_a_line_of_all_memory(tmp_path: Path) -> None:
    for name, content in (
        ("a.tsv", "sentence\tlabel\n" + "\t" * 20_000_000),
        ("a.csv", "sentence,label\n" + "," * 20_000_000),
        ("a.jsonl", "[" + "[]," * 6_000_000),
    ):
        with pytest.raises(DataError, match="too long a line"):
            read_table(written(tmp_path / name, content))
    with pytest.raises(DataError, match="too many entries"):
        read_table(written(tmp_path / "b.jsonl", "[" + "[]," * 4_000_000))


@pytest.mark.parametrize(("name", "mark"), [("a.tsv", "\t"), ("a.csv", ",")])
def test_many_columns(tmp_path: Path, name: str, mark: str) -> None:
    header = mark.join(["sentence", "label", *map(str, range(20_000))])
    with pytest.raises(DataError, match="too many columns"):
        read_table(written(tmp_path / name, f"{header}\n"))


def test_many_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", "sentence\tlabel" + "\n" * 6_000_000 + "a\t1")
    with pytest.raises(DataError, match="too many lines"):
        read_table(path)


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
def test_a_fifo_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="FIFO"):
        read_table(tmp_path / name)


def test_a_device_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="a device"):
        read_table(tmp_path / "a.tsv")


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
def test_a_blank_line_is_called_one_and_one_at_the_end_is_none(tmp_path: Path, name: str) -> None:
    head, rows = {
        "a.tsv": ("sentence\tlabel\n", ("a\t0", "b\t1")),
        "a.csv": ("sentence,label\n", ("a,0", "b,1")),
        "a.jsonl": ("", ('{"sentence": "a", "label": 0}', '{"sentence": "b", "label": 1}')),
    }[name]
    path = written(tmp_path / name, f"{head}{rows[0]}\n{rows[1]}\n\n  \n\n")
    assert read_table(path).texts == ("a", "b")
    path = written(tmp_path / name, f"{head}{rows[0]}\n\n{rows[1]}\n")
    with pytest.raises(DataError, match=r"row 2 .*a blank line"):
        read_table(path)
    assert read_table(path, on_bad_row="skip").skipped == 1


def test_a_tsv_of_pandas_is_read_as_it_stands_and_said_so(tmp_path: Path) -> None:
    content = 'sentence\tlabel\n"a ""great"" cast"\t1\n"all of it"\t0\na "lone\t0\n'
    path = written(tmp_path / "a.tsv", content)
    with pytest.warns(UserWarning, match="1 row in quotes"):
        assert read_table(path).texts[0] == '"a ""great"" cast"'


def test_a_tsv_with_every_text_in_quotes_is_said_so(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", 'sentence\tlabel\n"a warm film"\t1\n"a dull one"\t0\n')
    with pytest.warns(UserWarning, match="2 rows in quotes"):
        assert read_table(path).texts == ('"a warm film"', '"a dull one"')
    path = written(tmp_path / "a.tsv", '"sentence"\t"label"\n"a warm film"\t"1"\n')
    with pytest.raises(DataError, match="its cells stand in quotes, and TSV has none"):
        read_table(path)
    path = written(tmp_path / "a.tsv", 'sentence\tlabel\n"a warm film"\t1\na dull one\t0\n')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_table(path)) == 2


def png(width: int, height: int) -> bytes:
    """Return a PNG that says this size and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_an_image_of_great_size_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for size in ((13_000, 13_000), (2**31 - 1, 1), (60_000, 60_000)):
        path.write_bytes(png(*size))
        with pytest.raises(DataError, match=r"too large an image|no image"):
            open_image(str(path))
    path.write_bytes(png(20_000, 1))  # which CLIP would scale up to 224 x 4,480,000 pixels
    with pytest.raises(DataError, match="too long an image"):
        open_image(str(path))
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(DataError, match="too large"):
        open_image(str(path))


def test_a_fifo_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match="FIFO"):
        open_image(str(tmp_path / "a.png"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_an_image_cut_or_spoilt_anywhere_is_an_error_or_an_image(tmp_path: Path, kind: str) -> None:
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(out, kind)
    raw, path = out.getvalue(), tmp_path / "a"
    for end in range(0, len(raw), max(1, len(raw) // 60)):
        for spoilt in (raw[:end], raw[:end] + b"\xff\xff\xff\xff" + raw[end + 4 :]):
            path.write_bytes(spoilt)
            with suppress(DataError):
                assert open_image(str(path)).mode == "RGB"


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    table = written(tmp_path / "a.csv", "image,label\n" + "x" * 300 + ".png,1\n")
    with pytest.raises(DataError, match="without a file"):
        read_images(table)
    with pytest.raises(DataError, match="cannot be read"):
        load_data("x" * 300 + ".tsv")
    with pytest.raises(DataError, match="is no file that can be read"):
        load_data("x\0.tsv")


def test_texts_and_labels_stand_in_two_columns(tmp_path: Path) -> None:
    table = written(tmp_path / "a.csv", "sentence,label\n1,1\n0,0\n")
    with pytest.raises(SettingsError, match="cannot stand in one column"):
        read_table(table, text_column="label")
    for columns in ({"label_column": 1}, {"text_column": None}):
        with pytest.raises(SettingsError, match=r"A column is named by text.* Actual: "):
            read_table(table, **columns)
    with pytest.raises(SettingsError, match=r"A column is named by text.* Actual: int 1"):
        read_unlabelled(table, text_column=1)


def test_rows_of_one_text_stay_together() -> None:
    texts = tuple(f"text {index % 20}" for index in range(60))
    data = TextDataset(texts, [index % 20 % 2 for index in range(60)], source="a.csv")
    with pytest.warns(UserWarning, match=r"40 of 60 rows of a\.csv repeat"):
        rest, part = data.split(0.25, 1)
    assert not set(rest.texts) & set(part.texts)
    assert len(rest) + len(part) == 60
    assert all((*rest.counts.values(), *part.counts.values()))
    same = TextDataset(("a", "A ", "b", "c"), [0, 0, 1, 1])
    with (
        pytest.raises(DataError, match="2 different texts"),
        pytest.warns(UserWarning, match="repeat"),
    ):
        same.split(0.5, 0)
