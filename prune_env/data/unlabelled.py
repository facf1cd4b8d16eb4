"""Texts without labels: a column of a table, or the lines of a text file."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from prune_env.data.dataset import TextDataset
from prune_env.data.readers import (
    OnBadRow,
    cell_problem,
    column_name,
    column_names,
    one_text,
    remedy_for,
    unreadable,
)
from prune_env.data.tables import Row, table_rows
from prune_env.data.text import hash_texts, normalised
from prune_env.data.text_file import text_lines
from prune_env.errors import DataError
from prune_env.utils.counts import count_of
from prune_env.utils.paths import as_path


@dataclass(frozen=True)
class Unlabelled:
    """Texts that nobody has labelled, each once.

    Attributes:
        texts: In the order of their first rows; none is blank.
        source: Where they come from.
        skipped: Rows that were left out because they could not be read.
    """

    texts: tuple[str, ...]
    source: str = "memory"
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def sha256(self) -> str:
        """Identity of the texts, in order."""
        digest = hashlib.sha256()
        hash_texts(digest, self.texts)
        return digest.hexdigest()

    def without(self, *parts: TextDataset) -> "Unlabelled":
        """Return the texts that labelled data does not hold, compared as `overlap` does.

        An export of everything holds what was labelled of it too: trained on, validation rows
        would judge what has read them, and training rows teach nothing new.

        Args:
            *parts: Labelled data.

        Raises:
            DataError: It holds them all.
        """
        known = {key for part in parts for key in part.keys}
        others = tuple(text for text in self.texts if normalised(text) not in known)
        if not others:
            raise DataError(
                f"{self.source} holds no text beside those of the clean data",
                expected="texts that have no label",
                actual=f"{count_of(len(self.texts), 'text')}, each in the clean data too",
                remedy="bring other texts, or leave --unlabelled out",
            )
        return replace(self, texts=others)


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a teacher made of unlabelled texts, see `prune_env.training.teacher`.

    Attributes:
        texts: Those that it is sure of, with its labels.
        accuracy: Of the teacher on validation data, 0 to 1.
        known: How many of the unlabelled texts were left out, since clean data holds them.
    """

    texts: TextDataset
    accuracy: float
    known: int = 0


def read_unlabelled(
    path: str | Path,
    *,
    text_column: str = "sentence",
    pair_column: str | None = None,
    on_bad_row: OnBadRow = "error",
) -> Unlabelled:
    """Read texts from a .txt file, one a line, or from a column of a .tsv, .csv or .jsonl file.

    Blank rows are left out, and of equal texts all but the first; labels are not read.

    Args:
        path: The file; UTF-8.
        text_column: Name of the column, in a table.
        pair_column: Name of the column of the second texts, in a table of pairs.
        on_bad_row: As for `read_table`.

    Raises:
        DataError: The file or a row cannot be read, or no text is left.
    """
    path = as_path(path, "path")
    columns = [column_name(text_column)]
    if pair_column is not None:
        columns = list(column_names(text_column, None, pair_column))
    rows = _rows(path, columns)
    texts: dict[str, None] = {}
    skipped = 0
    for row in rows:
        cells = [] if row.cells is None else [row.cells[column] for column in columns]
        if cells and not any(str(cell).strip() for cell in cells):
            continue
        problems = [cell_problem(cell) for cell in cells] or [row.problem]
        if not any(problems):
            texts[one_text(cells)] = None
        elif on_bad_row == "skip":
            skipped += 1
        else:
            at = next(place for place, problem in enumerate(problems) if problem)
            raise unreadable(
                path,
                row,
                problems[at],
                expected=f"a text in column '{columns[at]}'",
                remedy=remedy_for(cells[at] if cells else None),
            )
    if not texts:
        raise DataError(
            f"{path} holds no text",
            expected="one or more",
            actual=f"{count_of(skipped, 'bad row')}, skipped" if skipped else "blank rows only",
            remedy="check how the file was written",
        )
    return Unlabelled(tuple(texts), str(path), skipped)


def _rows(path: Path, columns: list[str]) -> Iterable[Row]:
    """Return the lines of a text file, or the rows of a table; errors as those of both."""
    if path.suffix.lower() != ".txt":
        return table_rows(path, tuple(columns))
    if len(columns) > 1:
        raise DataError(
            f"{path} holds one text a line, and pairs of texts were asked for",
            expected=f"a table with the columns {', '.join(columns)}",
            remedy="write the pairs as .jsonl, .csv or .tsv",
        )
    lines = enumerate(text_lines(path), start=1)
    return (Row(number, number, {columns[0]: line}) for number, line in lines)
