"""From a file to text, and to lines: UTF-8 alone, and no line lost."""

from pathlib import Path

from prune_env.errors import DataError
from prune_env.utils.limits import TABLE_BYTES, TABLE_LINE, TABLE_LINES
from prune_env.utils.reading import read_bounded

PACKED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip, as .xlsx files are",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"PAR1\x15": "Parquet",
}
"""What a file is whose first bytes are these; several are called .csv by mistake."""


def text_lines(path: Path) -> list[str]:
    """Return the lines of a text file; errors as those of `decoded` and `lines_of`."""
    return lines_of(path, decoded(path, "one text a line"))


def decoded(path: Path, content: str = "a header and rows") -> str:
    """Return the text of a file, UTF-8 with or without BOM.

    Args:
        path: The file.
        content: What it should hold, for messages.

    Raises:
        DataError: It is missing, unreadable, too large, empty, or no UTF-8.
    """
    try:
        raw = read_bounded(path, TABLE_BYTES, DataError)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read",
            expected="a readable file",
            actual="no such file" if isinstance(error, FileNotFoundError) else error.strerror,
            remedy="check the path and its permissions",
        ) from error
    packed = next((kind for magic, kind in PACKED.items() if raw.startswith(magic)), None)
    if packed is not None:
        raise DataError(
            f"{path} is packed",
            expected="UTF-8 text",
            actual=packed,
            remedy="unpack it, or save it again as text",
        )
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        problem, line = "UTF-16 or UTF-32", 1
    elif b"\0" in raw:
        problem, line = "a NUL byte", raw.count(b"\n", 0, raw.index(b"\0")) + 1
    else:
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            problem = f"byte 0x{error.object[error.start]:02x}, which is not UTF-8"
        else:
            if text.strip():
                return text
            raise DataError(
                f"{path} is empty",
                expected=content,
                actual=f"{len(raw)} bytes, no text",
                remedy="check how the file was written",
            )
    raise DataError(
        f"{path}, line {line}: the encoding is wrong",
        expected="UTF-8 text",
        actual=problem,
        remedy=_conversion(raw),
    )


def _conversion(raw: bytes) -> str:
    """Return what to do about bytes that are no UTF-8."""
    low, high = raw[:2] + raw[4:6], raw[2:4] + raw[6:8]  # halves of the header's first two letters
    if raw.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        coded = "UTF-32"
    elif b"\0" * 4 in (low, high):
        coded = "UTF-32BE" if high.strip(b"\0") else "UTF-32LE"
    elif raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        coded = "UTF-16"
    elif b"\0" in raw[:2]:  # the other half of the header's first letter
        coded = "UTF-16BE" if raw.startswith(b"\0") else "UTF-16LE"
    elif b"\0" in raw:
        return "check how the file was written"
    else:
        coded = "LATIN1"
    return f"convert it, for example with `iconv -f {coded} -t UTF-8`"


def lines_of(path: Path, text: str) -> list[str]:
    """Split at LF or CRLF only, or at CR where there is no LF, as old spreadsheets write it.

    str.splitlines also cuts at U+2028, U+0085 and form feeds. Blank lines at the end are none.
    """
    end = "\n" if "\n" in text else "\r"
    TABLE_LINES.check(text.count(end), f"{path} has too many lines", DataError)
    lines = text.split(end)
    while not lines[-1].strip(" \r"):
        lines.pop()
    longest = max(map(len, lines))
    TABLE_LINE.check(longest, f"{path} holds too long a line", DataError)
    return [line.removesuffix("\r") for line in lines]
