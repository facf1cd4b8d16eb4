"""Strict readers: every row arrives, or an error says which one does not and why."""

import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from prune_env.data.dataset import DEFAULT_LABEL_NAMES, TextDataset, text_problem
from prune_env.data.tables import Row, table_rows
from prune_env.errors import DataError, SettingsError
from prune_env.utils.limits import FOLDER_FILES, TABLE_BYTES, TABLE_LINES
from prune_env.utils.reading import kind_of

WHOLE_NUMBER = re.compile(r"-?[0-9]+", re.ASCII)


class LabelError(ValueError):
    """A cell is not a label; the reader adds the file and the row."""


class LabelParser:
    """Turns label cells into class indices, strictly.

    A cell may hold a label name (case and outer white space do not matter) or the class index. If
    a name is itself a whole number, as in ("1", "2", "3"), cells are read as names only, because
    an index would be ambiguous. "1.0", NaN, true and blank cells are refused: they are what a
    spreadsheet or a wrong column leaves behind.

    Args:
        names: One name per class, in label order; None means negative, positive.

    Raises:
        SettingsError: Fewer than two names, a blank one, or two that differ only by case.
    """

    def __init__(self, names: Sequence[str] | None = None) -> None:
        self.names = DEFAULT_LABEL_NAMES if names is None else tuple(map(str, names))
        self._index = {name.strip().casefold(): i for i, name in enumerate(self.names)}
        if len(self.names) < 2 or len(self._index) < len(self.names) or "" in self._index:
            raise SettingsError(
                "label_names do not name the classes",
                expected="two or more different names, none blank",
                actual=self.names,
            )
        self._by_name_only = any(WHOLE_NUMBER.fullmatch(name) for name in self._index)

    def __call__(self, cell: object) -> int:
        """Return the class index of a cell.

        Args:
            cell: A string, or an int from JSON or a typed table.

        Raises:
            LabelError: The cell is anything else, or out of range.
        """
        if isinstance(cell, bool) or not isinstance(cell, (str, int)):
            raise LabelError(f"a label of type {type(cell).__name__}: {cell!r:.80}")
        word = str(cell).strip().casefold()
        if word in self._index:
            return self._index[word]
        if not self._by_name_only and WHOLE_NUMBER.fullmatch(word):
            # Nine digits hold every class index; int() itself refuses numbers of 4,300 digits.
            if len(word) <= 9 and 0 <= int(word) < len(self.names):
                return int(word)
            raise LabelError(f"label {word[:20]}, out of range")
        raise LabelError(f"label {cell!r:.80}" if word else "a blank label")

    @property
    def expected(self) -> str:
        """What a cell may hold, for messages."""
        names = ", ".join(self.names)
        return names if self._by_name_only else f"0 to {len(self.names) - 1}, or one of {names}"


OnBadRow = Literal["error", "skip"]


def read_table(
    path: str | Path,
    *,
    text_column: str = "sentence",
    label_column: str = "label",
    label_names: Sequence[str] | None = None,
    on_bad_row: OnBadRow = "error",
) -> TextDataset:
    """Read labelled texts from a .tsv, .csv or .jsonl file.

    TSV has no quoting, so a lone double quote is text; CSV follows RFC 4180. White space around a
    text, a label or a column name is dropped. An *empty* text cell is a missing value and a bad
    row; one of white space only is a blank text and is kept, for rewriters do emit such rows.

    Args:
        path: The file; UTF-8, with or without BOM, lines ended by LF or CRLF, or all by CR.
        text_column: Name of the column of texts.
        label_column: Name of the column of labels: a class index or a label name per row.
        label_names: One name per class; None means ("negative", "positive").
        on_bad_row: `"error"` stops at the first row that cannot be read (ragged, broken JSON, no
            text, no such label); `"skip"` leaves such rows out and counts them in `skipped`.

    Raises:
        DataError: The file as a whole cannot be read, a row cannot, or no row is left.
        SettingsError: An argument is out of range.
    """
    path = Path(path)
    columns = _two_columns(text_column, label_column)
    rows = table_rows(path, columns)
    return _collect(rows, str(path), columns, LabelParser(label_names), on_bad_row)


def _two_columns(text: str, label: str) -> tuple[str, str]:
    if text == label:
        raise SettingsError(
            "Texts and labels cannot stand in one column",
            expected="two names",
            actual=text,
            remedy="name the columns to be read (text_column, label_column)",
        )
    return text, label


def read_datasets(
    name_or_path: str | Path,
    split: str,
    *,
    text_column: str = "sentence",
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
        label_column: Name of the column of labels.
        label_names: One name per class; None takes those of a `ClassLabel` column, and otherwise
            ("negative", "positive").
        on_bad_row: As for `read_table`.
        allow_download: Let the library reach the network for a Hub name.
        revision: Commit or tag of the Hub data set.

    Raises:
        DataError: The library is missing, the data set cannot be found, has no such split or
            column, or a row cannot be read.
    """
    source = f"{name_or_path}:{split}"
    table = _load_split(str(name_or_path), split, allow_download, revision)
    TABLE_LINES.check(len(table), f"{source} has too many rows", DataError)
    columns = _two_columns(text_column, label_column)
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise DataError(
            f"{source}: no column {', '.join(missing)}",
            expected=f"the columns {', '.join(columns)}",
            actual=", ".join(table.column_names),
            remedy="name the columns to be read (text_column, label_column)",
        )
    if label_names is None:
        label_names = getattr(table.features[label_column], "names", None)
    table = table.select_columns(list(columns))
    TABLE_BYTES.check(table.data.nbytes, f"{source} is too large", DataError)
    cells = _cells(table, source)
    rows = (
        Row(number, number, {text_column: text, label_column: label})
        for number, (text, label) in enumerate(
            zip(cells[text_column], cells[label_column], strict=True), start=1
        )
    )
    return _collect(rows, source, columns, LabelParser(label_names), on_bad_row)


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
    return table


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


def _collect(
    rows: Iterable[Row],
    source: str,
    columns: tuple[str, str],
    parse_label: LabelParser,
    on_bad_row: OnBadRow,
) -> TextDataset:
    if on_bad_row not in ("error", "skip"):
        raise SettingsError("on_bad_row is unknown", expected="error or skip", actual=on_bad_row)
    texts: list[str] = []
    labels: list[int] = []
    skipped = 0
    for row in rows:
        problem, expected = row.problem, "a row with every column"
        if row.cells is not None:
            text, cell = (row.cells[column] for column in columns)
            problem = "an empty text" if text == "" else text_problem(text)
            expected = f"a text in column '{columns[0]}'"
            if not problem:
                try:
                    label = parse_label(cell)
                except LabelError as error:
                    problem, expected = str(error), parse_label.expected
        if not problem:
            texts.append(text.strip())
            labels.append(label)
        elif on_bad_row == "skip":
            skipped += 1
        else:
            raise DataError(
                f"{source}, row {row.number} (line {row.line}) cannot be read",
                expected=expected,
                actual=problem,
                remedy="repair the row, or let bad rows be skipped and counted (--on-bad-row skip)",
            )
    if not texts:
        raise DataError(
            f"{source} has no rows",
            expected="one row or more",
            actual=f"{skipped} bad rows, skipped" if skipped else "a header only",
            remedy="check how the file was written",
        )
    return TextDataset(
        tuple(texts), np.array(labels), parse_label.names, source=source, skipped=skipped
    )
