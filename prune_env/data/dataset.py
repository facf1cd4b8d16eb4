"""Labelled texts in memory: what every other package takes and gives."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from prune_env.data.class_names import class_names
from prune_env.data.draw import about
from prune_env.data.pairs import first_and_second
from prune_env.data.text import folded, hash_texts, is_whole_number, normalised, text_problem
from prune_env.errors import DataError, SettingsError
from prune_env.settings import check_seed, own_number
from prune_env.utils.counts import count_of
from prune_env.utils.files import write_bytes

Rewrite = Callable[[str], str]
"""Takes a text and returns another one."""

DEFAULT_LABEL_NAMES = ("negative", "positive")
"""Binary sentiment, the task of the published attacks: 0 negative, 1 positive."""


@dataclass(frozen=True, eq=False)
class TextDataset:
    """Texts with one label each, in a fixed order, immutable.

    Attributes:
        texts: N texts; a text may be blank, for text generators do emit blank lines.
        labels: int64 (N,), read-only; each is an index into `label_names`.
        label_names: One name per class, in label order.
        source: Where the rows come from: a path, or a name of the catalog.
        skipped: Rows of the source that were left out because they could not be read.

    Raises:
        DataError: Lengths differ, a label is out of range, or a text is not valid Unicode.
        SettingsError: `label_names` have no order, see `class_names`.

    Example:
        >>> data = TextDataset(("a warm film", "a dull film"), [1, 0])
        >>> len(data), data.where(1).texts
        (2, ('a warm film',))
    """

    texts: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    label_names: tuple[str, ...] = DEFAULT_LABEL_NAMES
    source: str = "memory"
    skipped: int = 0

    def __post_init__(self) -> None:
        # Made tuples first: iterators are read once.
        object.__setattr__(self, "texts", tuple(self.texts))
        object.__setattr__(self, "label_names", class_names(self.label_names))
        labels = np.array(self.labels)
        if labels.size == 0:
            labels = labels.astype(np.int64)
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise DataError(
                "Labels must be one whole number per text",
                expected=f"integers, shape ({len(self.texts)},)",
                actual=f"{labels.dtype}, shape {labels.shape}",
                remedy="convert them to class indices",
            )
        if len(labels) != len(self.texts):
            raise DataError(
                "Texts and labels differ in number",
                expected=count_of(len(self.texts), "label"),
                actual=len(labels),
                remedy="give one label per text",
            )
        outside = np.flatnonzero((labels < 0) | (labels >= len(self.label_names)))
        if outside.size:
            raise DataError(
                f"Row {outside[0] + 1} has a label out of range",
                expected=f"0 to {len(self.label_names) - 1} {self.label_names}",
                actual=labels[outside[0]],
                remedy="give as many label names as there are classes",
            )
        for row, text in enumerate(self.texts, start=1):
            problem = text_problem(text)
            if problem:
                raise DataError(
                    f"Row {row} has a text that no tokenizer can take",
                    expected="Unicode text",
                    actual=problem,
                    remedy="remove or repair the row",
                )
        labels = labels.astype(np.int64)
        labels.flags.writeable = False
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def sha256(self) -> str:
        """Identity of the content: texts, labels and label names, in order; not the source."""
        digest = hashlib.sha256(json.dumps(self.label_names).encode())
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").tobytes())
        hash_texts(digest, self.texts)
        return digest.hexdigest()

    @property
    def counts(self) -> dict[str, int]:
        """Rows per label name; 0 for a class without rows."""
        numbers = np.bincount(self.labels, minlength=len(self.label_names))
        return dict(zip(self.label_names, map(int, numbers), strict=True))

    @property
    def repeated(self) -> int:
        """Rows whose text stands in an earlier row, without regard to case and white space."""
        return int((self._first_rows() != np.arange(len(self))).sum())

    @property
    def contradictory(self) -> int:
        """Rows whose text also stands with another label."""
        first = self._first_rows()
        differ = np.zeros(len(self), dtype=bool)
        differ[first[self.labels != self.labels[first]]] = True
        return int(differ[first].sum())

    def select(self, indices: Sequence[int] | npt.NDArray[np.integer | np.bool_]) -> "TextDataset":
        """Return the rows at `indices` (or where a bool array of length N is True), in that order.

        Raises:
            IndexError: An index is no whole number or out of range, or the length is another.
        """
        asked = np.asarray(indices)
        rows = np.arange(len(self))[asked if asked.size else []]
        if asked.size and asked.min() < 0:  # which NumPy counts from the end
            raise IndexError(f"row {asked.min()} is out of range, 0 to {len(self) - 1}")
        return replace(self, texts=tuple(self.texts[row] for row in rows), labels=self.labels[rows])

    def sample(self, count: int, draw: np.random.Generator) -> "TextDataset":
        """Return so many rows in their order, each at most once more than any other.

        Args:
            count: Number of rows; of fewer, each is there several times.
            draw: Decides which.
        """
        passes = [draw.permutation(len(self)) for _ in range(max(1, -(-count // len(self))))]
        return self.select(np.sort(np.concatenate(passes)[:count]))

    def joined(self, other: "TextDataset") -> "TextDataset":
        """Return these rows and then those of another data set with the same classes."""
        other = other.in_order_of(self.label_names)
        labels = np.concatenate([self.labels, other.labels])
        return replace(self, texts=(*self.texts, *other.texts), labels=labels)

    def in_order_of(self, names: Sequence[str]) -> "TextDataset":
        """Return the rows with labels that are indices into `names`.

        Args:
            names: The same names in any order; case and outer white space do not matter.

        Raises:
            DataError: The classes are others.
        """
        own, order = folded(self.label_names), folded(names)
        if own == order:
            return self
        if sorted(own) != sorted(order):
            raise DataError(
                f"{self.source} has other classes than the data beside it",
                expected=", ".join(names),
                actual=", ".join(self.label_names),
                remedy="bring data of the same classes, or name them alike (--label-names)",
            )
        labels = np.array([order.index(name) for name in own])[self.labels]
        return replace(self, labels=labels, label_names=tuple(names))

    def where(self, label: int) -> "TextDataset":
        """Return the rows that carry `label`; there may be none."""
        return self.select(self.labels == label)

    def split(self, fraction: float, seed: int) -> tuple["TextDataset", "TextDataset"]:
        """Draw a stratified part; the same seed and rows give the same part.

        Rows of one text (without case, runs of white space made one) stay together, since a text
        that a model was trained on must not judge it; how many there are is warned of.

        Args:
            fraction: Share of each class that goes to the part, in (0, 1); rounded to whole rows,
                and at least one text of each class stays on either side.
            seed: Seed of the draw.

        Returns:
            `(rest, part)`, each in the original order.

        Raises:
            SettingsError: The fraction is no number inside (0, 1), or the seed is none.
            DataError: A class that has rows has only one text.
        """
        check_seed(seed)
        share = own_number(fraction)
        if not (isinstance(share, int | float) and 0 < share < 1):
            raise SettingsError("fraction must lie inside (0, 1)", actual=repr(fraction))
        random = np.random.default_rng(seed)
        taken = np.zeros(len(self), dtype=bool)
        first, repeated = self._first_rows(), self.repeated
        if repeated:
            warnings.warn(
                f"{repeated:,} of {len(self):,} rows of {self.source} repeat the text of another "
                "row: rows of one text stay in one part.",
                UserWarning,
                stacklevel=2,
            )
        for label in np.unique(self.labels):
            # A text counts as of the class of its first row; so many rows has each text.
            rows, counts = np.unique(first[self.labels[first] == label], return_counts=True)
            if len(rows) < 2:
                twice = int(((self.labels == label) & (self.labels[first] != label)).sum())
                remedy = "bring more data, or give the parts as separate files"
                if twice:
                    told = count_of(twice, "row")
                    remedy = f"correct the labels of texts that have two: {told} of this class"
                raise DataError(
                    f"{self.source}: class '{self.label_names[label]}' is too small to be split",
                    expected="2 different texts or more of each class",
                    actual=f"{len(rows)}" + " without another label before" * (twice > 0),
                    remedy=remedy,
                )
            order = random.permutation(len(rows))
            size = min(max(round(fraction * counts.sum()), 1), counts.sum() - 1)
            taken[rows[about(counts, order, size)]] = True
        taken = taken[first]
        return self.select(~taken), replace(self.select(taken), skipped=0)  # counted once

    @property
    def keys(self) -> Iterator[str]:
        """What each row is known by: rows with one key hold the same text."""
        return map(normalised, self.texts)

    def _first_rows(self) -> npt.NDArray[np.int64]:
        """Return, for each row, the first one with its text; int64 (N,)."""
        seen: dict[str, int] = {}
        rows = (seen.setdefault(key, row) for row, key in enumerate(self.keys))
        return np.fromiter(rows, np.int64, len(self))


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set.

    Attributes:
        train: For fine-tuning.
        validation: For the accuracy that a defence may look at.
        test: For ACC, and for LFR once triggered; a defence never sees it.

    Raises:
        DataError: A part has other classes than `train`. In another order they are put into its
            own, since a target label is one number for all parts.
    """

    train: TextDataset
    validation: TextDataset
    test: TextDataset

    def __post_init__(self) -> None:
        for name in ("validation", "test"):
            part: TextDataset = getattr(self, name)
            object.__setattr__(self, name, part.in_order_of(self.train.label_names))


def write_jsonl(
    path: str | Path, dataset: TextDataset, columns: Sequence[str] = ("sentence", "label")
) -> None:
    """Write one JSON object a line, `{"sentence": ..., "label": ...}`, atomically.

    Labels are numbers; where names are numbers too, names, which a reader takes first.

    Args:
        path: The file.
        dataset: Its rows.
        columns: What texts and labels are called; of pairs of texts, both texts and labels.
    """
    names = dataset.label_names
    cells = names if any(map(is_whole_number, names)) else range(len(names))
    lines = (
        json.dumps(
            dict(zip(columns, (*_cells_of(text, len(columns) - 1), cells[label]), strict=True)),
            ensure_ascii=False,
        )
        for text, label in zip(dataset.texts, dataset.labels, strict=True)
    )
    write_bytes(Path(path), "".join(f"{line}\n" for line in lines).encode())


def _cells_of(text: str, count: int) -> list[str]:
    """Return a text in so many cells: two of a pair."""
    texts = first_and_second(text) if count > 1 else (text,)
    # An empty cell would be read as a missing value; a blank text is one of white space.
    return [each or " " for each in texts]
