import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from prune_env.data import Splits, TextDataset, load_data, read_datasets
from prune_env.errors import DataError

datasets = pytest.importorskip("datasets", reason="the datasets extra is not installed")


def table(texts: list[Any], labels: list[Any], names: list[str] | None = None) -> Any:
    made = datasets.Dataset.from_dict({"sentence": texts, "label": labels})
    return made.cast_column("label", datasets.ClassLabel(names=names)) if names else made


def test_a_saved_table(tmp_path: Path) -> None:
    table([" a ", "b"], [1, 0], ["bad", "good"]).save_to_disk(tmp_path / "saved")
    for data in (read_datasets(tmp_path / "saved", "train"), load_data(tmp_path / "saved")):
        assert isinstance(data, TextDataset)
        assert data.texts == ("a", "b")
        assert data.labels.tolist() == [1, 0]
        assert data.label_names == ("bad", "good")


def test_saved_splits(tmp_path: Path) -> None:
    parts = {"train": 1, "validation": 2, "test": 3}
    made = {name: table(["a"] * size, [1] * size) for name, size in parts.items()}
    datasets.DatasetDict(made).save_to_disk(tmp_path / "saved")
    splits = load_data(tmp_path / "saved")
    assert isinstance(splits, Splits)
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [1, 2, 3]
    assert splits.test.label_names == ("negative", "positive")
    assert len(read_datasets(tmp_path / "saved", "test")) == 3
    with pytest.raises(DataError, match=r"cannot load .*:extra.*KeyError"):
        read_datasets(tmp_path / "saved", "extra")


def test_parts_that_order_their_classes_otherwise_have_one_order(tmp_path: Path) -> None:
    made = {
        "train": table(["a", "b"], [0, 1], ["bad", "good"]),
        "validation": table(["c", "d"], [0, 1], ["good", "bad"]),
        "test": table(["e", "f"], [1, 1], ["Good", "Bad"]),
    }
    datasets.DatasetDict(made).save_to_disk(tmp_path / "saved")
    splits = load_data(tmp_path / "saved")
    assert isinstance(splits, Splits)
    parts = (splits.train, splits.validation, splits.test)
    assert [part.label_names for part in parts] == [("bad", "good")] * 3
    assert [part.labels.tolist() for part in parts] == [[0, 1], [1, 0], [0, 0]]
    made["test"] = table(["e"], [0], ["fine", "awful"])
    datasets.DatasetDict(made).save_to_disk(tmp_path / "other")
    with pytest.raises(DataError, match="other classes than the data beside it"):
        load_data(tmp_path / "other")


@pytest.mark.parametrize("kind", ["numpy", "pandas"])
def test_a_saved_format_hides_no_column(tmp_path: Path, kind: str) -> None:
    made = table(["a", "b", "c"], [1, 0, None], ["bad", "good"])
    made.with_format(kind, columns=["label"]).save_to_disk(tmp_path / "saved")
    data = read_datasets(tmp_path / "saved", "train", on_bad_row="skip")
    assert (data.texts, data.labels.tolist(), data.skipped) == (("a", "b"), [1, 0], 1)


def test_rows_are_read_as_strictly_as_from_a_file(tmp_path: Path) -> None:
    table(["a", "", None, "d", "e"], [1, 1, 1, -1, 0]).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match=r"row 2 .* an empty text"):
        read_datasets(tmp_path / "saved", "train")
    data = read_datasets(tmp_path / "saved", "train", on_bad_row="skip")
    assert (data.texts, data.skipped) == (("a", "e"), 3)


def test_a_file_spoilt_anywhere_is_an_error_or_a_table(tmp_path: Path) -> None:
    table(["one text", "another"] * 20, [1, 0] * 20).save_to_disk(tmp_path / "saved")
    (path,) = (tmp_path / "saved").glob("*.arrow")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"another", b"\xffnother"))
    with pytest.raises(DataError, match="is damaged"):
        read_datasets(tmp_path / "saved", "train")
    for seed in range(60):
        draw, spoilt = random.Random(seed), bytearray(whole)
        for _ in range(4):
            spoilt[draw.randrange(len(spoilt))] = draw.randrange(256)
        path.write_bytes(spoilt)
        with suppress(DataError):
            assert len(read_datasets(tmp_path / "saved", "train")) == 40


def test_wrong_columns_are_listed(tmp_path: Path) -> None:
    table(["a"], [1]).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match=r"no column text.*Actual: sentence, label"):
        read_datasets(tmp_path / "saved", "train", text_column="text")


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="datasets cannot load"):
        read_datasets(tmp_path, "train")


def test_the_hub_is_not_asked_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(name: str, **settings: Any) -> Any:
        asked.append((name, settings))
        return table(["a"], [1])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match=r"There is no folder stanfordnlp/sst2.*allow the download"):
        read_datasets("stanfordnlp/sst2", "train")
    assert asked == []
    data = read_datasets("stanfordnlp/sst2", "train", allow_download=True, revision="abc")
    assert data.texts == ("a",)
    assert asked == [("stanfordnlp/sst2", {"split": "train", "revision": "abc"})]


@pytest.mark.parametrize(
    ("own", "given", "labels", "names"),
    [
        (["1", "0"], None, [1, 0], ("1", "0")),
        (["-1", "0", "1"], None, [1, 0], ("-1", "0", "1")),
        (["positive", "negative"], ["Negative", "positive"], [0, 1], ("Negative", "positive")),
        (["neg", "pos"], ["negative", "positive"], [1, 0], ("negative", "positive")),
        (["0", "1"], ["negative", "positive"], [1, 0], ("negative", "positive")),
    ],
)
def test_classes_of_a_typed_column_are_matched_by_name_or_renamed(
    tmp_path: Path, own: list[str], given: list[str] | None, labels: list[int], names: tuple
) -> None:
    table(["a", "b"], [1, 0], own).save_to_disk(tmp_path / "saved")
    data = read_datasets(tmp_path / "saved", "train", label_names=given)
    assert (data.labels.tolist(), data.label_names) == (labels, names)


@pytest.mark.parametrize("given", [["good", "fair"], ["bad", "good", "fair"]])
def test_names_that_contradict_those_of_a_typed_column_are_refused(
    tmp_path: Path, given: list[str]
) -> None:
    table(["a", "b"], [1, 0], ["bad", "good"]).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match="do not fit the classes of the data"):
        read_datasets(tmp_path / "saved", "train", label_names=given)


def test_a_row_without_a_class_is_a_bad_row(tmp_path: Path) -> None:
    table(["a", "b"], [-1, 0], ["-1", "good"]).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match=r"row 1 .*unknown \(-1\)"):
        read_datasets(tmp_path / "saved", "train")
