"""Reading a label cell: by name, or as a whole number, and nothing else."""

import re
from collections.abc import Sequence

from prune_env.data.dataset import DEFAULT_LABEL_NAMES
from prune_env.errors import SettingsError

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
