import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from prune_env.errors import SettingsError, StateError
from prune_env.models import full_mask, load_mask, save_mask, validate_mask
from prune_env.models.masks import oracle_mark, oracle_mark_of
from prune_env.utils.files import read_json

MASKS = npst.arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 6)))


def test_full_mask_keeps_all() -> None:
    assert full_mask((2, 3)).tolist() == [[True] * 3] * 2


@pytest.mark.parametrize("dtype", [bool, int, float, np.int8])
def test_zeros_and_ones_of_any_type_are_a_mask(dtype: type) -> None:
    mask = np.array([[1, 0], [0, 1]], dtype=dtype)
    assert validate_mask(mask, (2, 2)).tolist() == [[True, False], [False, True]]


def test_the_result_is_a_copy() -> None:
    mask = full_mask((1, 2))
    validate_mask(mask, (1, 2))[0, 0] = False
    assert mask.all()


@pytest.mark.parametrize("mask", [[[True]], [True, True], [[[True, True]]], [[1, 0.5]], [[1, 2]]])
def test_anything_else_is_refused(mask: Any) -> None:
    with pytest.raises(SettingsError):
        validate_mask(mask, (1, 2))
    with pytest.raises(SettingsError):
        validate_mask([[1.0, float("nan")]], (1, 2))


@given(mask=MASKS)
@settings(deadline=None, max_examples=30)
def test_a_saved_mask_reads_back(mask: np.ndarray, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("masks") / "mask.json"
    save_mask(path, mask, policy="gradient")
    assert np.array_equal(load_mask(path), mask)
    assert np.array_equal(load_mask(path, mask.shape), mask)
    content = json.loads(path.read_text())
    assert content["meta"] == {"policy": "gradient"}
    assert (content["layers"], content["heads"]) == mask.shape
    lacking = {int(layer) for layer in content["pruned"]}
    assert lacking == set(np.flatnonzero(~mask.all(axis=1)))  # as PURE's files, no empty entry
    with pytest.raises(SettingsError, match="does not fit"):
        load_mask(path, (mask.shape[0] + 1, mask.shape[1]))


def test_the_published_form_of_pure_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pure.json"
    path.write_text('{"0": [1, 2], "11": [0]}')
    mask = load_mask(path, (12, 12))
    assert np.argwhere(~mask).tolist() == [[0, 1], [0, 2], [11, 0]]
    with pytest.raises(SettingsError, match="shape of the model"):
        load_mask(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        '{"format": "other"}',
        '{"format": "prune-env-mask", "version": 2}',
        '{"format": "prune-env-mask", "version": 1, "layers": 2, "pruned": {}}',
        '{"format": "prune-env-mask", "version": 1, "layers": 0, "heads": 2, "pruned": {}}',
        '{"format": "prune-env-mask", "version": 1, "layers": 1e9, "heads": 1, "pruned": {}}',
        '{"format": "prune-env-mask", "version": 1, "layers": 99999, "heads": 1, "pruned": {}}',
        '{"format": "prune-env-mask", "version": 1, "layers": 2, "heads": 2, "pruned": [1]}',
        '{"one": [1]}',
        '{"1": 1}',
        '{"0000000009": [1]}',
        '{"0": [1], "0": []}',
        '{"99999999999999999999": [1]}',
        "[" * 50_000,
        '{"-1": [1]}',
        '{"\\u00b2": [1]}',
        '{"0": [1], "00": [0]}',
        '{"0": [1], "0": [0]}',
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mask.json"
    path.write_text(text)
    with pytest.raises(StateError, match=r"mask\.json"):
        load_mask(path, (2, 2))


@pytest.mark.parametrize(
    "text", ['{"2": [0]}', '{"0": [2]}', '{"0": [-1]}', '{"0": ["1"]}', '{"0": [true]}']
)
def test_heads_that_do_not_exist_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mask.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match="prunes head"):
        load_mask(path, (2, 2))


def test_a_mask_of_other_units_says_what_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "mask.json"
    path.write_text('{"format": "prune-env-mask", "version": 2, "units": {}}')
    with pytest.raises(StateError, match=r"heads, neurons and maps.*--units hybrid"):
        load_mask(path)


def test_a_missing_file_is_a_state_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"gone\.json"):
        load_mask(tmp_path / "gone.json")


def test_a_file_says_if_the_trigger_chose_its_mask(tmp_path: Path) -> None:
    mask, marked = np.ones((2, 3), bool), oracle_mark(True)
    save_mask(tmp_path / "marked.json", mask, model="x", **marked)
    save_mask(tmp_path / "other.json", mask, model="x", **oracle_mark(False))
    (tmp_path / "pure.json").write_text('{"0": [1]}')
    (tmp_path / "older.json").write_text(
        '{"format": "prune-env-mask", "version": 1, "layers": 2, "heads": 3, "pruned": {}}'
    )
    found = {path.stem: oracle_mark_of(read_json(path)) for path in tmp_path.iterdir()}
    assert found == {"marked": marked, "other": {}, "pure": {}, "older": {}}
    assert all(load_mask(path, (2, 3)).shape == (2, 3) for path in tmp_path.iterdir())
