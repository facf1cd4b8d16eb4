from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prune_env.data import ImageDataset, Splits, load_data, read_images
from prune_env.data.checks import overlap
from prune_env.data.images import open_image
from prune_env.errors import DataError
from tests.models.tiny import write_tiny_images


def test_a_table_of_paths(tmp_path: Path) -> None:
    table = write_tiny_images(tmp_path / "a", rows=6)
    data = read_images(table)
    assert data.labels.tolist() == [0, 1] * 3
    assert data.texts[1] == str(tmp_path / "a" / "0-1.png")
    assert open_image(data.texts[1]).size == (16, 16)
    rest, part = data.split(0.34, seed=0)
    assert type(rest) is type(part) is ImageDataset
    assert load_data(table, image_column="image").sha256 == data.sha256


def test_a_folder_of_three_tables(tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "dev", "test")):
        write_tiny_images(tmp_path / str(seed), rows=2, seed=seed)
        lines = f"image,label\n{seed}/{seed}-0.png,0\n{seed}/{seed}-1.png,1\n"
        (tmp_path / f"{part}.csv").write_text(lines)
    data = load_data(tmp_path, image_column="image")
    assert isinstance(data, Splits)
    assert [Path(part.texts[0]).name for part in (data.train, data.validation, data.test)] == [
        "0-0.png",
        "1-0.png",
        "2-0.png",
    ]


def test_the_identity_is_that_of_the_content(tmp_path: Path) -> None:
    first, second = (read_images(write_tiny_images(tmp_path / name, rows=4)) for name in "ab")
    assert first.texts != second.texts
    assert first.sha256 == second.sha256
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(second.texts[3])
    assert read_images(tmp_path / "b" / "images.csv").sha256 != first.sha256


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    table = write_tiny_images(tmp_path / "a", rows=4)
    (tmp_path / "a" / "0-2.png").unlink()
    with pytest.raises(DataError, match=r"names 1 image without a file.*0-2\.png"):
        read_images(table)


def test_images_that_cannot_be_read_are_skipped_where_that_is_asked_for(tmp_path: Path) -> None:
    table = write_tiny_images(tmp_path / "a", rows=6)
    (tmp_path / "a" / "0-2.png").unlink()
    (tmp_path / "a" / "0-3.png").write_bytes(b"no image")
    data = read_images(table, on_bad_row="skip")
    assert [Path(path).name for path in data.texts] == ["0-0.png", "0-1.png", "0-4.png", "0-5.png"]
    assert (data.labels.tolist(), data.skipped) == ([0, 1, 0, 1], 2)
    for path in data.texts:
        Path(path).unlink()
    with pytest.raises(DataError, match="no image that can be read"):
        read_images(table, on_bad_row="skip")


def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (16, 8)).save(tmp_path / "a.jpg", exif=exif)
    assert open_image(str(tmp_path / "a.jpg")).size == (8, 16)


def test_a_table_of_texts_is_told_its_columns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("sentence,label\na film,1\n")
    with pytest.raises(DataError, match="sentence"):
        read_images(tmp_path / "t.csv")


def spoil(path: Path, how: str) -> None:
    raw = path.read_bytes()
    if how == "cut":
        path.write_bytes(raw[: len(raw) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("no image")
    elif how == "another format":  # rarely fuzzed decoders are not reached by a false name
        Image.open(path).save(path.with_suffix(".ppm"))
        path.with_suffix(".ppm").replace(path)
    else:  # a header that announces far more pixels than the file holds
        path.write_bytes(raw[:16] + (2**31 - 1).to_bytes(4, "big") * 2 + raw[24:])


@pytest.mark.parametrize("how", ["cut", "empty", "text", "another format", "bomb"])
def test_a_damaged_image_is_named(tmp_path: Path, how: str) -> None:
    table = write_tiny_images(tmp_path / "a", rows=2)
    path = tmp_path / "a" / "0-1.png"
    spoil(path, how)
    with pytest.raises(DataError, match=r"0-1\.png"):
        open_image(str(path))
    if how == "cut":  # what follows the header is read when it is needed
        read_images(table)
        return
    with pytest.raises(DataError, match=r"0-1\.png"):
        read_images(table)


def test_images_are_compared_by_their_content_not_by_their_path(tmp_path: Path) -> None:
    for folder, seed in (("A", 0), ("a", 1), ("copies", 0)):
        write_tiny_images(tmp_path / folder, rows=6, seed=seed)
    tables = [
        read_images(next((tmp_path / folder).glob("*.csv"))) for folder in ("A", "a", "copies")
    ]
    with pytest.warns(UserWarning, match="6 of 6"):
        assert overlap(tables[0], tables[2]) == 6
    both = ImageDataset(
        tables[0].texts + tables[1].texts, np.repeat([0, 1], 6), ("upper", "lower"), "here"
    )
    assert (both.repeated, both.contradictory) == (0, 0)
    both.split(0.5, 0)


def test_an_image_that_went_after_the_table_was_read_is_said_to_be_gone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no image .*gone.png.*put it back"):
        open_image(str(tmp_path / "gone.png"))
