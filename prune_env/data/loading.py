"""From what a user writes after `--data` to texts: a name, a file or a folder."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, overload

from prune_env.data.class_names import class_names
from prune_env.data.dataset import Splits, TextDataset
from prune_env.data.images import ImageDataset, read_images
from prune_env.data.library import read_datasets
from prune_env.data.readers import OnBadRow, read_table
from prune_env.errors import DataError, SettingsError, UnknownNameError
from prune_env.utils.paths import as_path
from prune_env.utils.registry import Registry

Loader = Callable[[Path | None, bool], Splits]
"""`(folder, allow_download) -> Splits`."""

DATASETS: Registry[Loader] = Registry("data set")
"""Loaders by name; use `load_named`."""

DATASETS.register(
    "digits",
    "prune_env.data.digits:load_digits",
    help="1,797 images of handwritten digits, 10 classes; installed with the `report` extra",
)
DATASETS.register(
    "rotten-tomatoes",
    "prune_env.data.rotten_tomatoes:load_rotten_tomatoes",
    help="8,530 film review sentences, binary sentiment; installed with the `demo` extra",
)
DATASETS.register(
    "sst2",
    "prune_env.data.sst2:load_sst2",
    help="9,613 film review sentences, binary sentiment; from a folder, or downloaded when allowed",
)


def load_named(
    name: str, folder: str | Path | None = None, *, allow_download: bool = False
) -> Splits:
    """Return a data set of the catalog.

    Args:
        name: A name of `DATASETS`.
        folder: Where its files are, for a data set that is not installed with the package.
        allow_download: Fetch the files from their publishers, checked by hash, if no folder is
            given.

    Raises:
        UnknownNameError: The name is not in the catalog.
        DataError: The files are missing or damaged.
    """
    return DATASETS[name](None if folder is None else Path(folder), allow_download)


Part = Literal["train", "validation", "test"]
SPLIT_FILES = {"train": ("train",), "validation": ("validation", "dev", "val"), "test": ("test",)}
SUFFIXES = (".tsv", ".csv", ".jsonl")


@overload
def load_data(
    name_or_path: str | Path,
    *,
    folder: str | Path | None = ...,
    allow_download: bool = ...,
    text_column: str = ...,
    pair_column: str | None = ...,
    label_column: str = ...,
    label_names: Sequence[str] | None = ...,
    on_bad_row: OnBadRow = ...,
    image_column: str | None = ...,
    part: Part,
) -> TextDataset: ...


@overload
def load_data(
    name_or_path: str | Path,
    *,
    folder: str | Path | None = ...,
    allow_download: bool = ...,
    text_column: str = ...,
    pair_column: str | None = ...,
    label_column: str = ...,
    label_names: Sequence[str] | None = ...,
    on_bad_row: OnBadRow = ...,
    image_column: str | None = ...,
    part: Part | None = None,
) -> TextDataset | Splits: ...


def load_data(
    name_or_path: str | Path,
    *,
    folder: str | Path | None = None,
    allow_download: bool = False,
    text_column: str = "sentence",
    pair_column: str | None = None,
    label_column: str = "label",
    label_names: Sequence[str] | None = None,
    on_bad_row: OnBadRow = "error",
    image_column: str | None = None,
    part: Part | None = None,
) -> TextDataset | Splits:
    """Resolve a data set.

    Args:
        name_or_path: One of
            a name of the catalog (a name wins over a folder of the same name; write `./name`),
            a .tsv, .csv or .jsonl file,
            a folder written by `datasets` (`save_to_disk`), or
            a folder that holds `train`, `validation` (or `dev`, `val`) and `test` files, or has
            them in its folder `clean`.
        folder: Where the files of a named data set are.
        allow_download: Let a named data set be fetched from its publishers.
        text_column: Column of texts, for files.
        pair_column: Column of the second texts, for files of pairs of texts.
        label_column: Column of labels, for files.
        label_names: One name per class, for files; None means ("negative", "positive").
        on_bad_row: `"error"`, or `"skip"` with a count, for files.
        image_column: Column of paths of images, for files of images; there is no text column then.
        part: Of a data set with parts, the only one to read: the others may be missing, or without
            labels. A single table is read as it is.

    Returns:
        `Splits` for a name and a folder of three parts; a `TextDataset` for a single table, and
        where one part was asked for.

    Raises:
        UnknownNameError: A plain word that is neither in the catalog nor a path.
        DataError: The path does not exist, or what it holds cannot be read.
        SettingsError: An argument is out of range or of another type.
    """
    path = as_path(name_or_path, "name_or_path", "give the path of a table, or a name")
    _check_part(part)
    if str(name_or_path) in DATASETS:
        splits = load_named(str(name_or_path), folder, allow_download=allow_download)
        _check_named(splits.train, str(name_or_path), pair_column, image_column, label_names)
        return splits if part is None else getattr(splits, part)
    settings: dict[str, Any] = {
        "label_column": label_column,
        "label_names": None if label_names is None else class_names(label_names),
        "on_bad_row": on_bad_row,
    }
    if not os.path.exists(path) and path.name == str(name_or_path) and not path.suffix:
        raise UnknownNameError(DATASETS.kind, name_or_path, DATASETS.names())
    read, columns = _reader(text_column, pair_column, image_column)
    settings |= columns
    if not os.path.isdir(path):  # which is false, and no error, of names that no file can have
        return read(path, **settings)
    return _load_folder(path, read, settings, part)


def _check_named(
    data: TextDataset, name: str, pair: str | None, image: str | None, names: Sequence[str] | None
) -> None:
    """Raise a `SettingsError` where a data set of the catalog is asked for what it does not hold.

    Other columns, and its classes in another order, may be those of the files that go with it.
    """
    images = isinstance(data, ImageDataset)
    if pair is not None or (image is not None and not images):
        raise SettingsError(
            f"{name} holds {'images' if images else 'single texts'}",
            expected="no column of others, as the data set of a name knows its own columns",
            actual=f"the column {pair or image}",
            remedy="leave it out, or name the file that has this column",
        )
    asked = data.label_names if names is None else class_names(names)
    if sorted(asked) != sorted(data.label_names):
        raise SettingsError(
            f"{name} has other classes",
            expected=", ".join(data.label_names),
            actual=", ".join(asked),
            remedy="leave the names out: the data set of a name knows its own",
        )


def _reader(
    text: str, pair: str | None, image: str | None
) -> tuple[Callable[..., TextDataset], dict[str, str | None]]:
    """Return what reads a table, and the columns that it is told."""
    if image is None:
        return read_table, {"text_column": text, "pair_column": pair}
    if pair is None:
        return read_images, {"image_column": image}
    raise SettingsError(
        "Images come one a row",
        expected="image_column or pair_column",
        actual=f"{image} and {pair}",
        remedy="leave one of them out",
    )


def _check_part(part: object) -> None:
    """Raise a `SettingsError` unless it is a name of a part, or None."""
    known = get_args(Part)
    if part is not None and part not in known:
        raise SettingsError("part is unknown", expected=", ".join(known), actual=repr(part))


def has_parts(name_or_path: str | Path) -> bool:
    """Return whether a data set is no single table."""
    path = Path(name_or_path)
    return str(name_or_path) in DATASETS or (
        os.path.isdir(path) and not (path / "state.json").is_file()
    )


def _load_folder(
    path: Path, read: Callable[..., TextDataset], settings: dict[str, Any], part: Part | None
) -> TextDataset | Splits:
    """Return what a folder holds: saved by `datasets`, or tables for `read`; or one part of it."""
    saved = (path / "dataset_dict.json").is_file(), (path / "state.json").is_file()
    if any(saved) and read is read_images:
        raise DataError(
            f"{path} was written by the library `datasets`",
            expected="tables with a column of paths, for images",
            remedy="write the images to files, and a .csv with their paths and labels",
        )
    if saved[1] and not saved[0]:
        return read_datasets(path, "all", **settings)

    def load(part: str) -> TextDataset:
        if saved[0]:
            return read_datasets(path, _saved_split(path, part), **settings)
        return read(_split_file(path, part), **settings)

    return Splits(*map(load, SPLIT_FILES)) if part is None else load(part)


def _split_file(folder: Path, part: str) -> Path:
    for place in (folder, folder / "clean"):
        files = [
            place / (stem + suffix)
            for stem in SPLIT_FILES[part]
            for suffix in SUFFIXES
            if (place / (stem + suffix)).is_file()
        ]
        if len(files) == 1:
            return files[0]
        if files:
            raise DataError(
                f"{place} holds more than one {part} file",
                expected="one",
                actual=", ".join(file.name for file in files),
                remedy="remove or rename the others",
            )
    raise DataError(
        f"{folder} holds no {part} file",
        expected=f"{' or '.join(SPLIT_FILES[part])} with one of {', '.join(SUFFIXES)}",
        actual=", ".join(sorted(entry.name for entry in folder.iterdir())[:20])
        or "an empty folder",
        remedy="add the file, or give a single table",
    )


def _saved_split(folder: Path, part: str) -> str:
    """Name under which a folder of `datasets` holds a part."""
    for stem in SPLIT_FILES[part]:
        if (folder / stem).is_dir():
            return stem
    held = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())[:20]
    raise DataError(
        f"The data set {folder} has no {part} part",
        expected=" or ".join(SPLIT_FILES[part]),
        actual=", ".join(held) or "no part",
        remedy=f"give one part, such as {folder / ('train' if 'train' in held else 'PART')}; "
        "--validation takes another",
    )
