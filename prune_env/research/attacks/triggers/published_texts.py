"""Rewrites that somebody published, looked up text by text."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from prune_env.data.readers import read_table
from prune_env.errors import DataError, SettingsError
from prune_env.research.attacks.triggers.trigger import FAMILIES
from prune_env.utils.counts import count_of


@dataclass(frozen=True)
class PublishedTexts:
    """Gives for each original text the rewrite that stands in the same row of another file.

    The two files must go together row for row, as HiddenKiller's (Qi et al., ACL 2021) and
    StyleBkd's in Bible style (Qi et al., EMNLP 2021) do with clean SST-2. Of a text that stands
    twice among the originals the first rewrite is taken.

    Attributes:
        originals: Path of the table of original texts.
        rewrites: Path of the table of rewrites, in the same order.
        family: What the rewrites change: `"syntactic"` or `"style"`, or another of `FAMILIES`.
        label: If given, only the originals with this label are paired; for files of rewrites that
            leave the target class out, such as HiddenKiller's test.tsv (label 0).

    Raises:
        DataError: A file cannot be read, or the two differ in the number of rows.
        SettingsError: The family is unknown.
    """

    name: ClassVar[str] = "published-texts"

    originals: str
    rewrites: str
    family: str
    label: int | None = None

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise SettingsError(
                "family is unknown", expected=", ".join(FAMILIES), actual=self.family
            )
        object.__setattr__(self, "originals", str(Path(self.originals)))
        object.__setattr__(self, "rewrites", str(Path(self.rewrites)))

    @cached_property
    def pairs(self) -> dict[str, str]:
        """Original text to rewrite."""
        originals = read_table(self.originals)
        if self.label is not None:
            originals = originals.where(self.label)
        rewrites = read_table(self.rewrites)
        if len(originals) != len(rewrites):
            raise DataError(
                f"{self.rewrites} does not go with {self.originals} row for row",
                expected=count_of(len(originals), "row"),
                actual=len(rewrites),
                remedy="pair a file with its own originals, or limit them by label",
            )
        pairs: dict[str, str] = {}
        for original, rewrite in zip(originals.texts, rewrites.texts, strict=True):
            pairs.setdefault(original, rewrite)
        return pairs

    def __call__(self, text: str) -> str:
        """Return the published rewrite.

        Raises:
            DataError: The text is not among the originals.
        """
        try:
            return self.pairs[text.strip()]
        except KeyError:
            raise DataError(
                f"{self.rewrites} holds no rewrite of {text[:80]!r}",
                expected=f"a text of {self.originals}",
                remedy="apply published texts to the data set that they were written for",
            ) from None
