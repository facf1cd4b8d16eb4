"""Arrays in a stranger's .npz: what a header claims is compared with what is there."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune_env.errors import StateError
from prune_env.research.benchmark.store import Store
from prune_env.utils.arrays import MOST_MEMBERS, ArrayFormat, unpacked

FORMAT = ArrayFormat("made-here", 1, "thing", "make it again")


def member(shape: tuple[int, ...], content: bytes = b"", descr: Any = "<f8") -> bytes:
    """Return a member with a header that claims this shape."""
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + content


def archive(content: bytes, packing: int = zipfile.ZIP_STORED, name: str = "x.npy") -> bytes:
    """Return an archive of one member."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as made:
        made.writestr(name, content)
    return file.getvalue()


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    arrays = {
        "halves": np.arange(6, dtype=np.float16).reshape(2, 3),
        "turned": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "single": np.array(2.5),
        "none": np.zeros((0, 4), np.bool_),
    }
    FORMAT.write(tmp_path / "a.npz", {"told": 1}, arrays)
    with FORMAT.reading(tmp_path / "a.npz") as (head, read, _):
        assert head["told"] == 1
        assert set(read) == set(arrays)
        for name, array in arrays.items():
            assert read[name].dtype == array.dtype
            np.testing.assert_array_equal(read[name], array)


@pytest.mark.parametrize(
    "content",
    [
        member((10**6, 10**7)),
        member((2**40,), bytes(8)),
        member((-1,), bytes(8)),
        member((2**32, 2**32)),
        member((2,), bytes(24)),
        member((1,), bytes(8), "|O"),
        member((1,), bytes(8), "<U2"),
        member((1,), bytes(8), [("a", "<f8")]),
        b"\x93NUMPY\x03\x00" + member((1,), bytes(8))[8:],
    ],
)
def test_a_header_that_does_not_fit_its_member_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"x\.npy"):
        unpacked(archive(content), "too much")


@pytest.mark.parametrize("packing", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_what_numpy_does_not_write_is_not_unpacked(packing: int) -> None:
    with pytest.raises(ValueError, match="packed in a way"):
        unpacked(archive(member((1,), bytes(8)), packing), "too much")


def test_a_list_of_many_members_is_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for number in range(MOST_MEMBERS + 1):
            made.writestr(str(number), b"")
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(ValueError, match="members"):
        unpacked(file.getvalue(), "too much")


def damaged_lzma() -> bytes:
    data = bytearray(archive(np.random.default_rng(0).bytes(3000), zipfile.ZIP_LZMA, "head.npy"))
    place = data.index(b"head.npy") + 60
    data[place : place + 100] = b"\xff" * 100
    return bytes(data)


@pytest.mark.parametrize("make", [damaged_lzma, lambda: archive(member((10**6, 10**7)))])
def test_the_file_is_named(tmp_path: Path, make: Callable[[], bytes]) -> None:
    (tmp_path / "a.npz").write_bytes(make())
    with pytest.raises(StateError, match=r"a\.npz"), FORMAT.reading(tmp_path / "a.npz"):
        pass
    store = Store(tmp_path)
    place = store._embeddings("00000000000000ab")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(make())
    with pytest.raises(StateError, match=place.name):
        store.read_embeddings("00000000000000ab")
