"""From a file to rows of cells: TSV, CSV and JSON lines, without guessing and without loss."""

import csv
import io
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune_env.data.text_file import decoded, lines_of
from prune_env.errors import DataError
from prune_env.utils.counts import count_of
from prune_env.utils.limits import STATE_ENTRIES, TABLE_COLUMNS, TEXT
from prune_env.utils.reading import parse_json

WRITE_LINES = (
    "write it so: pandas has read_json(FILE).to_json(NAME.jsonl, orient='records', lines=True)"
)
"""What to do about JSON that is one list."""

CONVERSIONS = {
    ".parquet": "write it with pandas: read_parquet(FILE).to_json(NAME.jsonl, orient='records', "
    "lines=True)",
    ".json": f"with one object a line call it .jsonl; else {WRITE_LINES}",
    ".xlsx": "save it as .csv, in UTF-8",
    ".gz": "unpack it",
}
"""What to do about files that often hold data and are not read, by how their names end."""
COLUMN_OPTIONS = "--text-column (--image-column, --pair-column) and --label-column"


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        number: 1 for the first row of data.
        line: Line of the file on which the row ends, counted from 1.
        cells: Column name to value; None where the row cannot be read.
        problem: Why it cannot be read; empty if it can.
    """

    number: int
    line: int
    cells: dict[str, Any] | None
    problem: str = ""


def table_rows(path: Path, columns: tuple[str, ...]) -> Iterator[Row]:
    """Yield the rows of a .tsv, .csv or .jsonl file.

    Args:
        path: The file; UTF-8, with or without BOM, lines ended by LF or CRLF, or where it has no LF
            by CR (in a CSV always by any of them). Blank lines before the header are none.
        columns: Columns that must be there, once each; one alone is that of texts without labels.
            Others may be there too.

    Raises:
        DataError: The file is missing, of another type, not UTF-8, holds NUL bytes, is empty, lacks
            a column or holds it twice, or has a CSV quote that never ends.
    """
    readers = {".tsv": _tsv_rows, ".csv": _csv_rows, ".jsonl": _jsonl_rows}
    suffix = path.suffix.lower()
    if suffix not in readers:
        there, usual = os.path.exists(path), "check the path, or convert the file"
        found = "a folder" if os.path.isdir(path) else path.suffix or "no file extension"
        endings = [*readers] if len(columns) > 1 else [".txt", *readers]
        raise DataError(
            f"{path} is not a table that can be read",
            expected=f"a file that ends in {', '.join(endings)}",
            actual=found if there else "no such file",
            remedy=CONVERSIONS.get(suffix, usual) if there else usual,
        )
    return readers[suffix](path, decoded(path), columns)


def _check_columns(path: Path, found: list[str], columns: tuple[str, ...]) -> None:
    TABLE_COLUMNS.check(len(found), f"{path} has too many columns", DataError)
    wrong = {name: found.count(name) for name in columns if found.count(name) != 1}
    if wrong:
        what = ", ".join(
            f"'{name}' is missing" if count == 0 else f"'{name}' stands {count} times"
            for name, count in wrong.items()
        )
        raise DataError(
            f"{path}: column {what}",
            expected=f"the columns {', '.join(columns)}, once each",
            actual=f"{', '.join(found) or 'no column'}"[:500],
            remedy=_remedy(found, columns),
        )


def _remedy(found: list[str], columns: tuple[str, ...]) -> str:
    """Return what to do about a header that lacks columns: spreadsheets write several kinds."""
    first = found[0] if found else ""
    if first.casefold().startswith("sep="):
        return f"take the first line out, {first!r:.20}, which is for spreadsheets alone"
    if len(found) == 1:
        for name, sign in (("semicolons", ";"), ("tabs", "\t"), ("commas", ",")):
            if sign in first:
                return f"its cells lie between {name}: .csv has commas there, .tsv has tabs"
    if not {f'"{name}"' for name in columns}.isdisjoint(found):
        return "its cells stand in quotes, and TSV has none: save it as .csv, or without quotes"
    folded = {name.casefold() for name in columns}
    alike = [name for name in found if name.casefold() in folded and name not in columns]
    asked = f", as the table spells them ({', '.join(alike)})" if alike else ""
    if len(columns) == 1:  # the option names the column of the labelled table too
        return f"rename the column{asked}, or bring a .txt file, one text a line"
    return f"name them{asked}: {COLUMN_OPTIONS}"


def _header(lines: Iterable[list[str]]) -> int:
    """Return the place of the first line that is not blank, which other readers begin with too."""
    return next((place for place, cells in enumerate(lines) if any(map(str.strip, cells))), 0)


def _cells(header: list[str], cells: list[str], number: int, line: int) -> Row:
    if len(cells) == len(header):
        return Row(number, line, dict(zip(header, cells, strict=True)))
    if not any(cell.strip() for cell in cells):
        return Row(number, line, None, "a blank line")
    found = f"{count_of(len(cells), 'cell')} under {count_of(len(header), 'column')}"
    return Row(number, line, None, found)


def _tsv_rows(path: Path, text: str, columns: tuple[str, ...]) -> Iterator[Row]:
    """Cells lie between tabs; a quote is a character like any other."""
    lines = lines_of(path, text)
    first = _header(line.split("\t") for line in lines)
    names = [name.strip() for name in lines[first].split("\t")]
    _check_columns(path, names, columns)
    quoted = within = 0
    lines = lines[first + 1 :]
    for number, line in enumerate(lines, start=1):
        cells = line.split("\t")
        quoted += any(map(_looks_quoted, cells))
        within += any(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)
        yield _cells(names, cells, number, first + number + 1)
    if within == len(lines) > 1:  # one text may be a quotation; all of them are written so
        quoted = within
    if quoted:
        warnings.warn(
            f"{path}: {count_of(quoted, 'row')} in quotes, as pandas writes it, and TSV has none: "
            "they are kept as a part of the texts. Save the table as .csv to have them read.",
            UserWarning,
            stacklevel=2,
        )


def _looks_quoted(cell: str) -> bool:
    """Whether a cell stands in quotes and holds doubled ones, and no other."""
    inner = cell[1:-1]
    return (
        len(cell) > 3
        and cell[0] == cell[-1] == '"'
        and '""' in inner
        and '"' not in inner.replace('""', "")
    )


def _csv_rows(path: Path, text: str, columns: tuple[str, ...]) -> Iterator[Row]:
    """RFC 4180: a cell in double quotes may hold commas and line ends; "" is one quote."""
    # newline="" keeps the line ends inside quoted cells as they are.
    lines_of(path, text)  # before the library takes them apart
    body = text.rstrip(" \r\n")
    behind = text[len(body) :]
    blank = len(behind) - len(behind.lstrip(" "))  # a text of the last row may be blank
    reader = csv.reader(io.StringIO(body + behind[:blank], newline=""), strict=True)
    limit = csv.field_size_limit(TEXT.value)  # of the process: 131,072 characters by default
    try:
        rows = [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        header = next(csv.reader(body.lstrip(" \r\n,").splitlines()[:1]))  # not of commas?
        _check_columns(path, [name.strip() for name in header], columns)
        raise DataError(
            f"{path}, line {reader.line_num}: broken CSV",
            expected='cells without quotes, or as "..." with inner quotes doubled',
            actual=error,
            remedy="repair the quotes, or save the table as TSV, which has none",
        ) from error
    finally:
        csv.field_size_limit(limit)
    first = _header(cells for _, cells in rows)
    names = [name.strip() for name in rows[first][1]]
    _check_columns(path, names, columns)
    for number, (line, cells) in enumerate(rows[first + 1 :], start=1):
        yield _cells(names, cells, number, line)


def _jsonl_rows(path: Path, text: str, columns: tuple[str, ...]) -> Iterator[Row]:
    """One JSON object a line."""
    body = text.strip()
    if body[0] + body[-1] == "[]":
        raise DataError(
            f"{path} holds a list in place of one object a line",
            expected='a line such as {"sentence": "...", "label": 0} for each row',
            actual=body[:40],
            remedy=WRITE_LINES,
        )
    for number, line in enumerate(lines_of(path, text), start=1):
        if not line.strip():
            yield Row(number, number, None, "a blank line")
            continue
        try:
            pairs = parse_json(line.encode(), path, STATE_ENTRIES, DataError, _Pairs)
        except DataError:
            raise
        except (ValueError, RecursionError) as error:
            yield Row(number, number, None, f"broken JSON ({error})")
            continue
        if not isinstance(pairs, _Pairs):
            yield Row(number, number, None, f"JSON that is not an object: {line:.80}")
            continue
        names = [name for name, _ in pairs]
        if any(names.count(column) != 1 for column in columns):
            found = ", ".join(names) or "none"
            yield Row(number, number, None, _other_keys(columns, found))
            continue
        cells = {name: dict(cell) if isinstance(cell, _Pairs) else cell for name, cell in pairs}
        yield Row(number, number, cells)


def _other_keys(columns: tuple[str, ...], found: str) -> str:
    other = "--text-column names another" if len(columns) > 1 else "rename the key"
    return f"not each of {', '.join(columns)} once; keys: {found} ({other})"


class _Pairs(list[tuple[str, Any]]):
    """The pairs of a JSON object, doubled keys kept; a JSON array stays a plain list."""
