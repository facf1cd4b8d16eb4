"""Arguments of the public function."""

from pathlib import Path

import pytest

from prune_env import purify
from prune_env.errors import OutputExistsError
from prune_env.settings import FineTuneSettings, SearchSettings
from tests.support import tiny_dataset, write_tiny_folder

TUNING = FineTuneSettings(epochs=1, learning_rate=1e-3, batch_size=16, precision="fp32")
SEARCH = SearchSettings(max_drop=1.0)
TRAIN, VALIDATION = tiny_dataset(60, 0), tiny_dataset(30, 1)


def test_options_of_loading_are_taken_by_keyword(tiny_folder: Path, tmp_path: Path) -> None:
    report = purify(
        tiny_folder,
        TRAIN,
        VALIDATION,
        tmp_path / "out",
        policy="ft",
        search_settings=SEARCH,
        fine_tune_settings=TUNING,
        head="new",
        allow_download=False,
        revision=None,
        attn_implementation="eager",
    )
    assert report["model"]["new_head"]
    with pytest.raises(TypeError, match="trust_remote_code"):
        purify(tiny_folder, TRAIN, VALIDATION, tmp_path / "again", trust_remote_code=True)
    assert not (tmp_path / "again").exists()


def test_nothing_is_written_into_the_folder_of_the_source(tmp_path: Path) -> None:
    source = write_tiny_folder(tmp_path / "model")
    before = sorted(source.iterdir())
    with pytest.raises(OutputExistsError, match="inside the model's own folder"):
        purify(source, TRAIN, VALIDATION, source / "out", policy="ft")
    assert sorted(source.iterdir()) == before
