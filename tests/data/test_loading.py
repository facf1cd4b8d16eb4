from pathlib import Path

import pytest

from prune_env.data import Splits, TextDataset, load_data
from prune_env.data.loading import has_parts
from prune_env.errors import DataError, SettingsError, UnknownNameError

ROW = "a warm film\t1\n"
HEADER = "sentence\tlabel\n"


def write_parts(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for count, name in enumerate(names, start=1):
        (folder / name).write_text(HEADER + ROW * count)
    return folder


def sizes(splits: TextDataset | Splits) -> list[int]:
    assert isinstance(splits, Splits)
    return [len(splits.train), len(splits.validation), len(splits.test)]


def test_a_file_is_one_table(tmp_path: Path) -> None:
    write_parts(tmp_path, "mine.tsv")
    data = load_data(tmp_path / "mine.tsv", label_names=["bad", "good"])
    assert isinstance(data, TextDataset)
    assert data.label_names == ("bad", "good")


@pytest.mark.parametrize("validation", ["validation.tsv", "dev.tsv", "val.tsv"])
@pytest.mark.parametrize("place", [".", "clean"])
def test_a_folder_of_three_parts(tmp_path: Path, validation: str, place: str) -> None:
    write_parts(tmp_path / place, "train.tsv", validation, "test.tsv")
    assert sizes(load_data(tmp_path)) == [1, 2, 3]


def test_settings_reach_every_part(tmp_path: Path) -> None:
    write_parts(tmp_path, "train.tsv", "dev.tsv", "test.tsv")
    (tmp_path / "test.tsv").write_text(HEADER + ROW + "ragged\n")
    with pytest.raises(DataError, match=r"test.tsv, row 2"):
        load_data(tmp_path)
    splits = load_data(tmp_path, on_bad_row="skip")
    assert isinstance(splits, Splits)
    assert (splits.train.skipped, splits.test.skipped) == (0, 1)
    with pytest.raises(SettingsError, match="label_names"):
        load_data(tmp_path, label_names=["same", "same"])


def test_a_name_of_the_catalog(real_data: Path) -> None:
    assert sizes(load_data("sst2", folder=real_data / "sst2")) == [6920, 872, 1821]
    assert sizes(load_data(real_data / "sst2")) == [6920, 872, 1821]


def test_a_name_wins_over_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parts(tmp_path / "sst2", "train.tsv", "dev.tsv", "test.tsv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="sst2 is not installed"):
        load_data("sst2")
    assert sizes(load_data("./sst2")) == [1, 2, 3]


def test_a_word_that_is_neither_is_answered_with_the_names() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'rotten-tomatoes'"):
        load_data("rotten-tomatos")


@pytest.mark.parametrize("path", ["missing.tsv", "./missing", "folder/missing"])
def test_a_missing_path_is_a_missing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        load_data(path)


def test_a_folder_without_a_part_lists_what_it_holds(tmp_path: Path) -> None:
    write_parts(tmp_path, "train.tsv", "notes.tsv", "test.tsv")
    with pytest.raises(DataError, match=r"no validation file.*notes.tsv, test.tsv, train.tsv"):
        load_data(tmp_path)


def test_two_files_of_one_part_are_ambiguous(tmp_path: Path) -> None:
    write_parts(tmp_path, "train.tsv", "validation.tsv", "dev.tsv", "test.tsv")
    with pytest.raises(DataError, match=r"more than one validation file.*dev.tsv"):
        load_data(tmp_path)


@pytest.mark.parametrize("part", ["dev", "val", "Train", "", 0, ["train"]], ids=repr)
def test_another_part_is_refused_whatever_is_read(tmp_path: Path, part: object) -> None:
    write_parts(tmp_path, "train.tsv", "dev.tsv", "test.tsv")
    for place in (tmp_path, tmp_path / "train.tsv", "rotten-tomatoes"):
        with pytest.raises(SettingsError, match=r"Expected: train, validation, test. Actual: "):
            load_data(place, part=part)


def test_one_part_is_read_and_the_others_may_be_missing_or_without_labels(tmp_path: Path) -> None:
    write_parts(tmp_path, "train.tsv", "dev.tsv")
    (tmp_path / "test.tsv").write_text("index\tsentence\n0\ta film\n")
    for part, size in (("train", 1), ("validation", 2)):
        data = load_data(tmp_path, part=part)
        assert isinstance(data, TextDataset)
        assert len(data) == size
    with pytest.raises(DataError, match="column 'label' is missing"):
        load_data(tmp_path)
    assert has_parts(tmp_path)
    assert not has_parts(tmp_path / "train.tsv")
    assert load_data(tmp_path / "train.tsv", part="test").texts == ("a warm film",)
