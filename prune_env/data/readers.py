"""Strict readers: every row arrives, or an error says which one does not and why."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from prune_env.data.class_names import class_names
from prune_env.data.dataset import DEFAULT_LABEL_NAMES, TextDataset
from prune_env.data.pairs import BETWEEN, text_pair
from prune_env.data.tables import COLUMN_OPTIONS, Row, table_rows
from prune_env.data.text import NESTED, is_whole_number, text_problem
from prune_env.errors import DataError, SettingsError
from prune_env.utils.counts import count_of
from prune_env.utils.paths import as_path


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
        SettingsError: Fewer than two names, a blank one, or two that differ only by case; or they
            have no order, see `class_names`.
    """

    def __init__(self, names: Sequence[str] | None = None) -> None:
        self.names = DEFAULT_LABEL_NAMES if names is None else class_names(names)
        self._index = {name.strip().casefold(): i for i, name in enumerate(self.names)}
        if len(self.names) < 2 or len(self._index) < len(self.names) or "" in self._index:
            raise SettingsError(
                "label_names do not name the classes",
                expected="two or more different names, none blank",
                actual=self.names,
            )
        self._by_name_only = any(map(is_whole_number, self._index))

    def __call__(self, cell: object) -> int:
        """Return the class index of a cell.

        Args:
            cell: A string, or an int from JSON or a typed table.

        Raises:
            LabelError: The cell is anything else, or out of range.
        """
        if isinstance(cell, bool) or not isinstance(cell, (str, int)):
            kind = NESTED.get(type(cell), f"a label of type {type(cell).__name__}:")
            raise LabelError(f"{kind} {cell!r:.80}")
        word = str(cell).strip().casefold()
        if word in self._index:
            return self._index[word]
        if not self._by_name_only and is_whole_number(word):
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

    @staticmethod
    def remedy(cell: object) -> str:
        """Return what to do about a cell that is no label, for messages.

        Missing values and decimals are answered alike, whether a type of file has a sign of its
        own for them or writes them as words: pandas has 1.0 and nan where a column of whole numbers
        has a gap.
        """
        word = str(cell) if type(cell) in (str, int) else ""
        if is_whole_number(word) or (word.strip() and not _is_number(word)):
            return "name the classes in label order (--label-names)"
        return "write labels as whole numbers, such as 1, or as names"


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


OnBadRow = Literal["error", "skip"]


def read_table(
    path: str | Path,
    *,
    text_column: str = "sentence",
    pair_column: str | None = None,
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
        pair_column: Name of the column of the second texts, where each row is a pair of texts.
        label_column: Name of the column of labels: a class index or a label name per row.
        label_names: One name per class; None means ("negative", "positive").
        on_bad_row: `"error"` stops at the first row that cannot be read (ragged, broken JSON, no
            text, no such label); `"skip"` leaves such rows out and counts them in `skipped`.

    Raises:
        DataError: The file as a whole cannot be read, a row cannot, or no row is left.
        SettingsError: An argument is out of range.
    """
    path = as_path(path, "path")
    columns = column_names(text_column, pair_column, label_column)
    rows = table_rows(path, columns)
    return collect(rows, str(path), columns, LabelParser(label_names), on_bad_row)


def column_name(name: str) -> str:
    """Return the name of a column.

    Raises:
        SettingsError: It is something else, such as a number.
    """
    if not isinstance(name, str):
        raise SettingsError(
            "A column is named by text",
            expected="a name of the header, such as 'label'",
            actual=f"{type(name).__name__} {name!r:.80}",
            remedy="put the name in quotes",
        )
    return name


def column_names(text: str, pair: str | None, label: str) -> tuple[str, ...]:
    """Return the names of the columns that are read, that of labels last.

    Raises:
        SettingsError: Two are one, or they are no names.
    """
    names = (text, label) if pair is None else (text, pair, label)
    for name in names:
        if names.count(column_name(name)) > 1:
            raise SettingsError(
                "Texts and labels cannot stand in one column",
                expected=f"{len(names)} names",
                actual=", ".join(map(str, names)),
                remedy=f"name them: {COLUMN_OPTIONS}",
            )
    return names


def cell_problem(cell: object) -> str:
    """Say why a cell is no text of a row; empty if it is one."""
    if cell == "":
        return "an empty text"
    if isinstance(cell, str) and BETWEEN in cell:
        return f"U+{ord(BETWEEN):X}, which is no character, and stands between texts of a pair here"
    return text_problem(cell)


def one_text(cells: Sequence[str]) -> str:
    """Return the text of a row, or the two as a pair."""
    texts = [cell.strip() for cell in cells]
    return texts[0] if len(texts) == 1 else text_pair(*texts)


FLATTEN = "write the column flat, one plain value a row"
"""What can be done about cells that hold other cells."""

REPAIR = "repair the row, or let bad rows be skipped and counted (--on-bad-row skip)"
"""What can be done about a row that cannot be read."""


def remedy_for(text: object) -> str:
    """Return what can be done about a cell that is no text."""
    return FLATTEN if type(text) in NESTED else REPAIR


def unreadable(
    source: str | Path, row: Row, problem: str, *, expected: str, remedy: str = REPAIR
) -> DataError:
    """Return the error of a row that cannot be read."""
    return DataError(
        f"{source}, row {row.number} (line {row.line}) cannot be read",
        expected=expected,
        actual=problem,
        remedy=remedy,
    )


def collect(
    rows: Iterable[Row],
    source: str,
    columns: tuple[str, ...],
    parse_label: LabelParser,
    on_bad_row: OnBadRow,
) -> TextDataset:
    """Return the rows that can be read; arguments and errors as those of `read_table`."""
    if on_bad_row not in ("error", "skip"):
        raise SettingsError("on_bad_row is unknown", expected="error or skip", actual=on_bad_row)
    texts: list[str] = []
    labels: list[int] = []
    skipped = 0
    *text_columns, label_column = columns
    for row in rows:
        problem, expected = row.problem, "a row with every column"
        remedy = REPAIR
        if row.cells is not None:
            for column in text_columns:
                problem = cell_problem(row.cells[column])
                if problem:
                    remedy, expected = remedy_for(row.cells[column]), f"a text in column '{column}'"
                    break
            if not problem:
                text = one_text([row.cells[column] for column in text_columns])
                cell = row.cells[label_column]
                try:
                    label = parse_label(cell)
                except LabelError as error:
                    problem, expected = str(error), parse_label.expected
                    # To skip them would leave a whole class out.
                    remedy = f"{parse_label.remedy(cell)}; or {remedy}"
        if not problem:
            texts.append(text)
            labels.append(label)
        elif on_bad_row == "skip":
            skipped += 1
        else:
            raise unreadable(source, row, problem, expected=expected, remedy=remedy)
    if not texts:
        raise DataError(
            f"{source} has no rows",
            expected="one row or more",
            actual=f"{count_of(skipped, 'bad row')}, skipped" if skipped else "a header only",
            remedy="check how the file was written",
        )
    return TextDataset(
        tuple(texts), np.array(labels), parse_label.names, source=source, skipped=skipped
    )
