"""Records and surrogates of strangers: refused in one message, before they are played."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import prune_env  # noqa: F401 - registers the environments
from prune_env.env.landscape import LandscapeEvaluator
from prune_env.env.subject import Subject
from prune_env.errors import StateError
from prune_env.importance import DEFAULT_METRICS
from prune_env.research.recording.fitting import fit_surrogate
from prune_env.research.recording.recording import Recording
from prune_env.research.recording.table import read_record

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    evaluator = LandscapeEvaluator(2, 4)
    subject = Subject(evaluator, evaluator.importance(), DEFAULT_METRICS)
    fit_surrogate(Recording(subject, ["sparsity"]).run(folder / "r.npz", 45), folder / "s.npz")
    return folder


def play(path: Path) -> None:
    env = gym.make("prune_env/Recorded-v0", model=str(path), tau=None)
    env.reset()
    env.step(0)


def arrays_of(path: Path) -> Arrays:
    with np.load(path) as held:
        return dict(held)


def spoilt(path: Path, change: Callable[[Arrays], None], out: Path) -> Path:
    arrays = arrays_of(path)
    change(arrays)
    np.savez(out, **arrays)
    return out


def fact(name: str, value: Any) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        head = json.loads(arrays["head"].tobytes())
        head["facts"][name] = value
        arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)

    return change


def array(name: str, change: Callable[[np.ndarray], Any]) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({name: np.asarray(change(arrays[name]))})


@pytest.mark.parametrize(
    "change",
    [
        fact("metrics", ["magnitude"]),
        fact("metrics", [*DEFAULT_METRICS, "dropout"]),
        fact("metrics", 3),
        fact("metrics", [[]]),
        fact("columns", ["accuracy", "accuracy"]),
        fact("columns", ["reward sparsity", "accuracy", "lfr"]),
        fact("columns", ["reward sparsity", "lfr"]),
        fact("columns", {"accuracy": 1}),
        fact("scale", 0),
        fact("scale", float("nan")),
        fact("scale", -1),
        fact("scale", "x"),
        array("available", lambda each: each[0]),
        array("available", np.zeros_like),
        array("available", lambda each: np.ones((1001, 1), np.bool_)),
        array("importance", lambda each: each[:, :3]),
        array("importance", lambda each: np.full_like(each, np.inf)),
        array("masks", lambda each: each[:0]),
        array("masks", lambda each: each[:5]),
        array("masks", lambda each: each.astype(float)),
        array("masks", lambda each: each[:, :0]),
        array("weights", lambda each: each[:, :1]),
        array("weights", lambda each: np.full_like(each, np.nan)),
        array("weights", lambda each: each.astype(float) * 1e300),
        array("statistics", lambda each: each * 1e300),
        array("weights", lambda each: each.astype(complex)),
        array("weights", lambda each: np.zeros(each.shape, "V0")),
        array("statistics", lambda each: each[:2]),
        array("statistics", lambda each: each[[0, 2, 1]]),
        array("statistics", lambda each: each + 10),
        array("statistics", lambda each: np.full_like(each, np.nan)),
        array("modes", lambda each: each[:-1]),
        array("modes", lambda each: each[:, :-1]),
        array("modes", lambda each: each[:, :0]),
        array("modes", lambda each: each[0]),
        array("modes", lambda each: each.astype(float) * 1e300),
        array("modes", lambda each: np.full_like(each, np.inf)),
        array("margins", lambda each: each[:1]),
        array("margins", lambda each: np.full_like(each, np.nan)),
        array("margins", lambda each: each * [[1], [0]]),
        lambda arrays: arrays.pop("margins"),
        array("offset", lambda each: each[:0]),
        array("offset", lambda each: each * np.nan),
        lambda arrays: arrays.pop("offset"),
        lambda arrays: arrays.pop("modes"),
    ],
)
def test_a_surrogate_whose_parts_disagree_is_refused(
    files: Path, tmp_path: Path, change: Callable[[Arrays], None]
) -> None:
    play(files / "s.npz")
    with pytest.raises(StateError, match="is no surrogate"):
        play(spoilt(files / "s.npz", change, tmp_path / "x.npz"))


@pytest.mark.parametrize(
    "change",
    [
        array("available", np.zeros_like),
        array("available", lambda each: each[0]),
        array("masks", lambda each: each[:5]),
        array("kinds", lambda each: each + 3),
        array("kinds", lambda each: each.astype(float)),
        array("column accuracy", lambda each: each[:, None]),
        array("column accuracy", lambda each: np.full_like(each, np.nan)),
        lambda arrays: arrays.pop("column accuracy"),
        lambda arrays: arrays.pop("margins"),
        array("margins", lambda each: each[:5]),
        array("margins", lambda each: each[:, 0]),
        array("margins", lambda each: each.astype(float)),
        array("margins", lambda each: np.full_like(each, np.inf)),
        array("families", lambda each: each[:5]),
        array("families", lambda each: each[::-1]),
        array("families", lambda each: each + 1),
        array("families", lambda each: each * 2),
        array("families", lambda each: each + (each == each[-1]) * np.uint32(2**32 - 9)),
        array("margins", lambda each: each[:, :0]),
        array("column accuracy", lambda each: each + 1),
        lambda arrays: arrays.update(
            {name: each[:0] for name, each in arrays.items() if len(each) == 45}
        ),
        array("families", lambda each: each.astype(float)),
    ],
)
def test_a_record_whose_parts_disagree_is_refused(
    files: Path, tmp_path: Path, change: Callable[[Arrays], None]
) -> None:
    read_record(files / "r.npz")
    with pytest.raises(StateError, match="is no record"):
        read_record(spoilt(files / "r.npz", change, tmp_path / "x.npz"))


@pytest.mark.parametrize("name", ["r.npz", "s.npz"])
@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"none",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x01\x00\x03\x00{(\n",
        b"\x93NUMPY\x01\x00\x06\x00 1\n2\n ",
    ],
)
def test_a_member_that_is_no_array_is_refused(
    files: Path, tmp_path: Path, name: str, member: bytes
) -> None:
    for part, read in (("head", read_record), ("masks", play)):
        arrays = arrays_of(files / name)
        del arrays[part]
        np.savez(tmp_path / "x.npz", **arrays)
        with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
            archive.writestr(f"{part}.npy", member)
        with pytest.raises(StateError):
            read(tmp_path / "x.npz")


def test_a_few_bytes_do_not_grow_to_gigabytes(files: Path, tmp_path: Path) -> None:
    arrays = arrays_of(files / "s.npz") | {"weights": np.zeros((300_000_000, 1), np.bool_)}
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    with pytest.raises(StateError, match="PRUNE_ENV_MAX_ARRAY_BYTES"):
        play(tmp_path / "x.npz")


def test_a_header_does_not_ask_for_terabytes(files: Path, tmp_path: Path) -> None:
    out = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (2**40, 2)}
    np.lib.format.write_array_header_1_0(out, header)
    arrays = arrays_of(files / "s.npz")
    del arrays["weights"]
    np.savez(tmp_path / "x.npz", **arrays)
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.writestr("weights.npy", out.getvalue())
    with pytest.raises(StateError, match="is no surrogate"):
        play(tmp_path / "x.npz")


def test_a_zip_of_another_version_is_refused(files: Path, tmp_path: Path) -> None:
    data = bytearray((files / "s.npz").read_bytes())
    place = data.rindex(b"PK\x01\x02")
    data[place + 6 : place + 8] = b"\xf7\x00"
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(StateError, match="is no surrogate"):
        play(tmp_path / "x.npz")
