"""Golden files: written so that a person can read and edit them, compared with a tolerance."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
_WIDTH = 96
_LONGEST_STEP = 2000


def read(name: str) -> Any:
    """Return a golden value."""
    return json.loads((DATA / f"{name}.json").read_text("utf-8"))


def write(name: str, value: Any) -> None:
    """Write a golden value, floats in full precision, whatever is short or plain in one line."""
    (DATA / f"{name}.json").write_text(_laid_out(value, "") + "\n", "utf-8")


def plain(value: Any) -> Any:
    """Return a value as JSON gives it back."""
    return json.loads(json.dumps(value))


def lost(old: Any, new: Any, tolerance: float = 0.0) -> list[str]:
    """Return the `differences` but for new keys, which may stand beside those of a report."""
    return [each for each in differences(old, new, tolerance) if not each.endswith(": new")]


def differences(old: Any, new: Any, tolerance: float = 0.0, where: str = "") -> list[str]:
    """Return one line for each place in which two JSON values differ.

    Args:
        old: The golden value.
        new: What the code gives today.
        tolerance: Allowed difference of floats, relative and absolute; 0 asks for every digit.
        where: Path of the values, for the lines.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        found = [f"{where}/{key}: gone" for key in old if key not in new]
        found += [f"{where}/{key}: new" for key in new if key not in old]
        for key in old.keys() & new.keys():
            found += differences(old[key], new[key], tolerance, f"{where}/{key}")
        return sorted(found)
    if isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            return [f"{where}: {len(old)} entries were {len(new)}"]
        pairs = enumerate(zip(old, new, strict=True))
        return [
            line for at, pair in pairs for line in differences(*pair, tolerance, f"{where}/{at}")
        ]
    if type(old) is not type(new):
        return [f"{where}: {old!r} became {new!r}"]
    equal = old == new or (
        isinstance(old, float) and math.isclose(old, new, rel_tol=tolerance, abs_tol=tolerance)
    )
    return [] if equal else [f"{where}: {old!r} became {new!r}"]


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder, so that the paths in reports are short and the same everywhere."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _laid_out(value: Any, indent: str) -> str:
    short = json.dumps(value, ensure_ascii=False)
    is_step = isinstance(value, list) and value and not isinstance(value[0], str | list | dict)
    longest = _LONGEST_STEP if is_step else _WIDTH
    if len(short) + len(indent) <= longest or not isinstance(value, dict | list):
        return short
    deeper = indent + " "
    if isinstance(value, list):
        lines = [_laid_out(each, deeper) for each in value]
        ends = "[]"
    else:
        lines = [f"{json.dumps(key)}: {_laid_out(value[key], deeper)}" for key in value]
        ends = "{}"
    return f"{ends[0]}\n{deeper}" + f",\n{deeper}".join(lines) + f"\n{indent}{ends[1]}"
