"""Data sets of the library `datasets`, read as strictly as files."""

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prune_env.data.class_names import class_names
from prune_env.data.dataset import TextDataset
from prune_env.data.readers import LabelParser, OnBadRow, collect, column_names
from prune_env.data.tables import COLUMN_OPTIONS, Row
from prune_env.data.text import folded
from prune_env.errors import DataError
from prune_env.utils.limits import FOLDER_FILES, TABLE_BYTES, TABLE_LINES
from prune_env.utils.reading import kind_of


def read_datasets(
    name_or_path: str | Path,
    split: str,
    *,
    text_column: str = "sentence",
    pair_column: str | None = None,
    label_column: str = "label",
    label_names: Sequence[str] | None = None,
    on_bad_row: OnBadRow = "error",
    allow_download: bool = False,
    revision: str | None = None,
) -> TextDataset:
    """Read one split of a `datasets` data set.

    Args:
        name_or_path: A folder written by `save_to_disk`, or a Hub name such as
            `"stanfordnlp/sst2"`.
        split: Name of the split, such as `"train"`; a folder with a single split ignores it.
        text_column: Name of the column of texts.
        pair_column: Name of the column of the second texts, where each row is a pair of texts.
        label_column: Name of the column of labels.
        label_names: One name per class; None takes those of a `ClassLabel` column, and otherwise
            ("negative", "positive"). Such a column has names of its own: the same ones in another
            order are matched by name, others rename its classes.
        on_bad_row: As for `read_table`.
        allow_download: Let the library reach the network for a Hub name.
        revision: Commit or tag of the Hub data set.

    Raises:
        DataError: The library is missing, the data set cannot be found, has no such split or
            column, or a row cannot be read.
    """
    source = f"{name_or_path}:{split}"
    label_names = None if label_names is None else class_names(label_names)
    table = _load_split(str(name_or_path), split, allow_download, revision)
    TABLE_LINES.check(len(table), f"{source} has too many rows", DataError)
    columns = column_names(text_column, pair_column, label_column)
    _check_columns(table, columns, source)
    own = getattr(table.features[label_column], "names", None)
    table = table.select_columns(list(columns))
    TABLE_BYTES.check(table.data.nbytes, f"{source} is too large", DataError)
    cells = _cells(table, source)
    if own is not None:
        label_names = own if label_names is None else label_names
        called = _called(own, label_names, source)
        cells[label_column] = _named(cells[label_column], called)
    every = zip(*(cells[column] for column in columns), strict=True)
    rows = (
        Row(number, number, dict(zip(columns, row, strict=True)))
        for number, row in enumerate(every, start=1)
    )
    return collect(rows, source, columns, LabelParser(label_names), on_bad_row)


def _check_columns(table: Any, columns: tuple[str, ...], source: str) -> None:
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise DataError(
            f"{source}: no column {', '.join(missing)}",
            expected=f"the columns {', '.join(columns)}",
            actual=", ".join(table.column_names),
            remedy=f"name them: {COLUMN_OPTIONS}",
        )


def _called(own: Sequence[str], names: Sequence[str], source: str) -> Sequence[str]:
    """Return what the classes of a `ClassLabel` column are called where classes have these names.

    Raises:
        DataError: Some names are those of the column, and stand elsewhere.
    """
    if sorted(folded(own)) == sorted(folded(names)):
        return own
    shared = set(folded(own)) & set(folded(names))
    if len(own) == len(names) and all(
        folded(own).index(name) == folded(names).index(name) for name in shared
    ):
        return names
    raise DataError(
        f"{source}: the label names do not fit the classes of the data",
        expected=", ".join(own) + ", in any order; or other names, in this order",
        actual=", ".join(names),
        remedy="leave --label-names out, or rename the classes in the order of the data",
    )


def _named(classes: list[int | None], names: Sequence[str]) -> list[str | None]:
    """Return the name of each class; None of a row without one, or what no name can be."""
    return [
        None if each is None else names[each] if 0 <= each < len(names) else f"unknown ({each})"
        for each in classes
    ]


def _cells(table: Any, source: str) -> dict[str, list[Any]]:
    """Return the columns of a table of `datasets`, by name."""
    try:
        table.data.validate(full=True)  # Arrow trusts the offsets in a file
        cells: dict[str, list[Any]] = table[:]  # row by row would be 100 times slower
    except (ValueError, IndexError, OSError) as error:  # ArrowInvalid is a ValueError
        raise DataError(
            f"{source} is damaged",
            expected="what `save_to_disk` wrote",
            actual=f"{type(error).__name__}: {error}"[:500],
            remedy="write it again",
        ) from error
    return cells


def _load_split(place: str, split: str, allow_download: bool, revision: str | None) -> Any:
    """Return a split as the library `datasets` holds it, see `read_datasets`."""
    try:
        import datasets  # noqa: PLC0415  (optional, and slow to import)
    except ImportError as error:
        raise DataError(
            "The library `datasets` is not installed",
            remedy="pip install 'prune-env[datasets]'",
        ) from error
    if not allow_download and not Path(place).is_dir():
        raise DataError(
            f"There is no folder {place}",
            expected="a folder written by datasets' save_to_disk",
            remedy="allow the download if this is the name of a data set on the Hub",
        )
    try:
        if Path(place).is_dir():
            _check_files(Path(place))
            table: Any = datasets.load_from_disk(place)
            table = table[split] if isinstance(table, datasets.DatasetDict) else table
        else:
            table = datasets.load_dataset(place, split=split, revision=revision)
    except DataError:
        raise
    except Exception as error:  # the library raises what its many backends raise
        raise DataError(
            f"datasets cannot load {place}:{split}",
            actual=f"{type(error).__name__}: {error}"[:500],
            remedy="check the name, the split and the folder",
        ) from error
    # A format that was saved along may hide columns, as that of a tokenised data set does.
    return table.with_format(None)


def _check_files(folder: Path) -> None:
    """Raise if a folder holds what would be waited for, or more than a data set."""
    for count, path in enumerate(folder.rglob("*"), start=1):
        FOLDER_FILES.check(count, f"{folder} holds too many files", DataError)
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise DataError(
                f"{path} is no file that can be read",
                expected="regular files and folders",
                actual=kind_of(mode),
                remedy="delete it",
            )
