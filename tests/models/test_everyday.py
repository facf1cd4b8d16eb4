"""Harmless oddities of everyday models: read, or refused in words that help."""

import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from prune_env.errors import ModelError, PruneEnvError, UnsafeModelError
from prune_env.models import load_classifier
from prune_env.models.catalog import find_source
from tests.models.exports import save_sliced, save_zeroed
from tests.models.hostile import edit_json


def test_a_bool_that_names_no_implementation_is_allowed(folder: Path) -> None:
    edit_json(folder / "config.json", lambda c: c.update(_attn_implementation_autoset=True))
    load_classifier(folder)
    edit_json(folder / "config.json", lambda c: c.update(_attn_implementation_autoset="evil/x"))
    with pytest.raises(UnsafeModelError, match="autoset"):
        load_classifier(folder)


def test_an_adapter_alone_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "x"}')
    (tmp_path / "adapter_model.safetensors").touch()
    with pytest.raises(UnsafeModelError, match=r"this is an adapter.*merge"):
        load_classifier(tmp_path)


def test_a_byte_order_mark_is_read(folder: Path) -> None:
    path = folder / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_classifier(folder).model.config.model_type == "bert"


def test_heads_that_were_cut_by_older_releases_are_named(folder: Path) -> None:
    edit_json(folder / "config.json", lambda c: c.update(pruned_heads={"0": [1, 3], "1": []}))
    with pytest.raises(ModelError, match=r"prune_heads: layer 0: \[1, 3\]\. Expected.*--mask"):
        load_classifier(folder)
    edit_json(folder / "config.json", lambda c: c.update(pruned_heads={}))
    load_classifier(folder)


def test_names_stand_in_label2id_alone(folder: Path) -> None:
    edit_json(folder / "config.json", lambda c: c.update(label2id={"good": 0, "bad": 1}))
    with pytest.raises(ModelError, match="in two ways that differ"):
        load_classifier(folder)
    generic = {"0": "LABEL_0", "1": "LABEL_1"}
    edit_json(folder / "config.json", lambda c: c.update(id2label=generic))
    assert load_classifier(folder).label_names == ("good", "bad")
    edit_json(folder / "config.json", lambda c: c.pop("id2label"))
    assert load_classifier(folder).label_names == ("good", "bad")


def test_ids_in_label2id_may_be_strings(folder: Path) -> None:
    edit_json(folder / "config.json", lambda c: c.update(label2id={"pos": "0", "neg": "1"}))
    with pytest.raises(ModelError, match="in two ways that differ"):
        load_classifier(folder)
    edit_json(folder / "config.json", lambda c: c.pop("id2label"))
    assert load_classifier(folder).label_names == ("pos", "neg")


@pytest.mark.parametrize(
    "ids", [{"negative": 1, "positive": 1}, {"0": "negative", "1": "positive"}, {"negative": True}]
)
def test_a_label2id_that_names_no_order_is_refused(folder: Path, ids: dict) -> None:
    edit_json(folder / "config.json", lambda c: c.update(label2id=ids))
    with pytest.raises(ModelError, match=r"stand for no order\. Expected.*each once"):
        load_classifier(folder)
    edit_json(folder / "config.json", lambda c: c.update(label2id={"LABEL_0": 5, "LABEL_1": 5}))
    assert load_classifier(folder).label_names == ("negative", "positive")


def test_a_repository_of_the_hubs_cache_is_followed_to_its_files(
    tiny_folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "models--who--what"
    commit = "0123456789" * 4
    (place / "snapshots").mkdir(parents=True)
    (place / "snapshots" / commit).symlink_to(tiny_folder)
    with pytest.raises(ModelError, match="does not say which files"):
        find_source(str(place))
    (place / "refs").mkdir()
    for text in ("../../../../etc", "x" * 40):
        (place / "refs" / "main").write_text(text)
        with pytest.raises(ModelError, match="does not say which files"):
            find_source(str(place))
    (place / "refs" / "main").write_text(f"{commit}\n")
    assert find_source(str(place)) == place / "snapshots" / commit


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file can grow beyond 20,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("save", [save_zeroed, save_sliced])
def test_a_full_disk_is_an_error_of_ours_and_leaves_nothing(
    save: object, tiny_folder: Path, tmp_path: Path, full_disk: None
) -> None:
    loaded = load_classifier(tiny_folder)
    with pytest.raises(PruneEnvError, match="cannot be written"):
        save(loaded, np.ones((2, 4), bool), tmp_path / "out")  # type: ignore[operator]
    assert os.listdir(tmp_path) == []


def test_paths_may_be_text(tiny_folder: Path, tmp_path: Path) -> None:
    from prune_env.models.masks import load_mask, save_mask  # noqa: PLC0415

    save_mask(str(tmp_path / "m.json"), np.ones((2, 4), bool))
    assert load_mask(str(tmp_path / "m.json")).all()
    assert json.loads((tmp_path / "m.json").read_text())["layers"] == 2
