"""Every folder is judged in bounded time and memory: sizes are known before the work."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from prune_env.errors import ModelError, PruneEnvError, SettingsError
from prune_env.models import inspect_source, load_classifier
from prune_env.models.folder import find_misplaced
from prune_env.models.header import find_damage, read_header
from prune_env.utils import limits
from tests.models.hostile import edit_json, edit_weights


@pytest.fixture
def watched() -> Iterator[None]:
    """A test may take so long, on a machine that does other things too."""
    started = time.perf_counter()
    yield
    assert time.perf_counter() - started < 20


def write_header(path: Path, entries: dict[str, Any], size: int = 0) -> None:
    raw = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + size)


def test_a_header_of_many_tensors(folder: Path, watched: None) -> None:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    write_header(folder / "model.safetensors", {f"t{i}": empty for i in range(30_000)})
    with pytest.raises(ModelError, match=r"too many tensors.*PRUNE_ENV_MAX_TENSORS"):
        load_classifier(folder)
    assert inspect_source(folder).problems


def test_a_header_without_end(folder: Path, watched: None) -> None:
    size = limits.HEADER_BYTES.value + 1
    with (folder / "model.safetensors").open("wb") as file:
        file.write(size.to_bytes(8, "little") + b"{")
        file.truncate(size + 100)
    with pytest.raises(ModelError, match="too large a header"):
        load_classifier(folder)


def test_a_file_larger_than_any_model_is_neither_read_nor_hashed(
    folder: Path, watched: None
) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(2**41)  # takes no room on the disk
    with (folder / "notes.bin").open("wb") as file:
        file.truncate(2**41)
    report = inspect_source(folder)
    assert any("too large" in problem for problem in report.problems)
    assert {file.sha256 for file in report.files if file.size == 2**41} == {"too large"}


def test_a_large_tensor_that_the_model_lacks(
    folder: Path, watched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_weights(folder, lambda weights: weights.update(extra=torch.zeros(2**26 + 2**20).half()))
    with pytest.raises(ModelError, match="another model than its weights"):
        load_classifier(folder)


@pytest.mark.parametrize("kind", ["F16", "BF16", "F32", "F64"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_bad_number_is_found_in_every_type(tmp_path: Path, kind: str, value: float) -> None:
    types = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
    tensor = torch.ones(5_000_000, dtype=types.get(kind, torch.float64))
    tensor[4_999_998] = value
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    save_file({"a": tensor, "b": torch.ones(2)}, tmp_path / "model.safetensors")
    assert any("NaN or Inf in 1 tensor: a" in text for text in inspect_source(tmp_path).problems)


def test_the_header_is_read_as_the_library_wrote_it(folder: Path) -> None:
    shapes = read_header(folder / "model.safetensors")
    assert shapes["classifier.weight"] == (2, 32)
    save_file({"s": torch.tensor(1.0), "e": torch.ones(3, 0)}, folder / "model.safetensors")
    assert read_header(folder / "model.safetensors") == {"e": (3, 0), "s": ()}


def test_tensors_may_be_named_in_any_order(tmp_path: Path) -> None:
    """The format asks for an order of the numbers alone."""
    entries = {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [6, 14]},
        "b": {"dtype": "I16", "shape": [3], "data_offsets": [0, 6]},
    }
    write_header(tmp_path / "x", entries, 14)
    assert read_header(tmp_path / "x") == {"a": (2,), "b": (3,)}


@pytest.mark.parametrize(
    "kind", "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()
)
def test_the_numbers_of_every_type_have_its_size(tmp_path: Path, kind: str) -> None:
    save_file({"a": torch.ones(3, dtype=getattr(torch, kind))}, tmp_path / "x")
    assert read_header(tmp_path / "x") == {"a": (3,)}


def test_a_quantized_weight_is_no_damage(tmp_path: Path) -> None:
    save_file({"a": torch.ones(3).to(torch.float8_e4m3fn)}, tmp_path / "x")
    with pytest.raises(ModelError, match=r"the weight a as 'F8_E4M3'.*not quantized"):
        read_header(tmp_path / "x")


def test_a_tensor_has_eight_dimensions_at_most(tmp_path: Path) -> None:
    save_file({"a": torch.ones((1,) * 8)}, tmp_path / "x")
    assert read_header(tmp_path / "x") == {"a": (1,) * 8}
    save_file({"a": torch.ones((1,) * 9)}, tmp_path / "x")
    with pytest.raises(ModelError, match="is damaged"):
        read_header(tmp_path / "x")


@pytest.mark.parametrize("shape", [[True], [1.0], ["1"], 1, None])
def test_sides_of_a_tensor_are_whole_numbers(tmp_path: Path, shape: object) -> None:
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}
    write_header(tmp_path / "x", {"a": entry}, 4)
    with pytest.raises(ModelError, match="is damaged"):
        read_header(tmp_path / "x")


def test_some_of_many_spoilt_tensors_are_named(tmp_path: Path) -> None:
    spoilt = {f"t{index}": torch.tensor([float("nan")]) for index in range(7)}
    save_file(spoilt | {"whole": torch.ones(1)}, tmp_path / "x")
    (problem,) = find_damage(tmp_path / "x")
    assert "NaN or Inf in 7 tensors: t0, t1, t2, t3, t4." in str(problem)


CONFIGS: dict[str, dict[str, Any]] = {
    "keys": {f"k{index}": index for index in range(200_000)},
    "lists": {"a": [[[]] * 10] * 20_000},
    "labels": {"id2label": {str(index): f"l{index}" for index in range(60_000)}},
    "a long key that holds much": {"k" * 500_000: {f"a{index}": 1 for index in range(20_000)}},
    "depth": {"a": json.loads("[" * 400 + "]" * 400)},
    "a long text": {"hidden_act": "x" * 3_000_000},
}


@pytest.mark.parametrize("change", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_config_of_great_size(folder: Path, watched: None, change: dict[str, Any]) -> None:
    edit_json(folder / "config.json", lambda content: content.update(change))
    with suppress(ModelError):
        load_classifier(folder)
    assert len(str(inspect_source(folder).problems)) < 9_000


def test_a_folder_of_many_files(folder: Path, watched: None) -> None:
    for index in range(limits.FOLDER_FILES.value):
        (folder / f"{index}.txt").touch()
    with pytest.raises(ModelError, match="too many files"):
        load_classifier(folder)
    assert inspect_source(folder).files == ()


def test_so_many_files_as_the_limit_says_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(limits.FOLDER_FILES.variable, "5")
    for name in ("a/b", "a/c", "d"):  # with folders, five entries
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    assert list(find_misplaced(tmp_path)) == []
    (tmp_path / "a" / "c" / "file").touch()
    (problem,) = find_misplaced(tmp_path)
    assert "too many files" in str(problem)


def test_an_index_of_many_weights(folder: Path, watched: None) -> None:
    (folder / "model.safetensors").unlink()
    names = {f"w{index}": "a.safetensors" for index in range(30_000)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(ModelError, match="too many tensors"):
        load_classifier(folder)


@pytest.mark.parametrize("name", ["x" * 300 + ".safetensors", "a\0b.safetensors", ".safetensors"])
def test_a_shard_whose_name_no_file_can_have(folder: Path, name: str) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"index\.json"):
        load_classifier(folder)
    assert inspect_source(folder).problems


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "vocab.txt", "notes"])
def test_a_fifo_is_no_file(folder: Path, watched: None, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(ModelError, match=f"what is no file: '{name} .a FIFO."):
        load_classifier(folder)
    assert inspect_source(folder).problems


def test_a_name_that_is_not_unicode(folder: Path) -> None:
    with open(os.fsencode(folder) + b"/lic\xe9nce.txt", "wb"):
        pass
    report = inspect_source(folder)
    assert not report.problems
    assert load_classifier(folder).sha256 == report.sha256


def test_a_long_name_of_a_tensor_does_not_fill_the_screen(folder: Path) -> None:
    edit_weights(folder, lambda weights: weights.update({"\x1b[31m" + "x" * 10**6: torch.ones(1)}))
    with pytest.raises(ModelError) as caught:
        load_classifier(folder)
    assert len(str(caught.value)) < 9_000
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", ["0", "-1", "many", "9" * 30])
def test_a_limit_is_a_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(limits.TENSORS.variable, value)
    with pytest.raises(SettingsError, match="PRUNE_ENV_MAX_TENSORS"):
        limits.TENSORS.check(1, "There are too many", ModelError)


def test_a_limit_can_be_raised_unless_it_is_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (limits.TENSORS, limits.TENSOR_NAME):
        monkeypatch.setenv(limit.variable, "1000000")
    limits.TENSORS.check(500_000, "There are too many", ModelError)
    with pytest.raises(PruneEnvError, match="too long"):
        limits.TENSOR_NAME.check(500_000, "It is too long", ModelError)
