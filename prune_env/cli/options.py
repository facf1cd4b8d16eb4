"""Options that several verbs share, and how a verb prints."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from rich.console import Console, RenderableType

from prune_env import errors
from prune_env.data.dataset import Splits, TextDataset
from prune_env.data.loading import Part, has_parts
from prune_env.data.table_format import TableFormat
from prune_env.errors import DataError, SettingsError

if TYPE_CHECKING:
    from rich.text import Text

    from prune_env.research.attacks import AttackFiles, AttackSources


TARGET_ALIAS = tyro.conf.arg(aliases=("--target",))
"""The short name of `--target-label`, for every verb that has it."""

MOST_THREADS = 1024
"""More than this is a slip of the pen, and may be more than the system starts."""


@dataclass(frozen=True)
class MachineOptions:
    """What of the machine a verb may use.

    Attributes:
        threads: Threads that torch computes with; default: one a core, or what OMP_NUM_THREADS
            says. Another number may change the last digits of a training.
    """

    threads: int | None = None

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            SettingsError: It is out of range.
        """
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise SettingsError(
                "threads is out of range",
                expected=f"1 to {MOST_THREADS}",
                actual=self.threads,
                remedy="leave it out for one a core",
            )

    def set_up(self) -> None:
        """Hold this process to it."""
        if self.threads is not None:
            import torch  # seconds, for those who only ask for help

            torch.set_num_threads(self.threads)


@dataclass(frozen=True)
class TableOptions(TableFormat):
    """How tables are read, and whether data and models may be fetched.

    Attributes:
        allow_download: Let a named data set be fetched from its publishers, and a model to purify
            or evaluate from the Hugging Face Hub (safetensors only, no code).
    """

    allow_download: bool = False

    def load(self, name_or_path: str, part: Part | None = None) -> TextDataset | Splits:
        """Return the data set of a name, a file or a folder; or the only part that is read."""
        return self._load(name_or_path, part, allow_download=self.allow_download)

    def load_clean(
        self, name_or_path: str, validation: str | None, share: float, seed: int
    ) -> tuple[TextDataset, TextDataset]:
        """Return the rows to train on and those on which masks are judged.

        Args:
            name_or_path: The clean data.
            validation: Data of their own for the second, if given.
            share: Of the first that is taken otherwise, unless the data has such a part.
            seed: Of the split.

        Raises:
            SettingsError: The share is asked for, and is outside (0, 1).
        """
        train = self.load_part(name_or_path, "train")
        if validation is None and not has_parts(name_or_path):
            if not 0 < share < 1:
                raise SettingsError("--validation-share (fraction) is not in (0, 1)", actual=share)
            return train.split(share, seed)
        return train, self.load_part(validation or name_or_path, "validation")

    def load_file(self, path: Path) -> TextDataset:
        """Return the rows of one file.

        Raises:
            DataError: It is a data set of several parts.
        """
        data = self.load(str(path))
        if isinstance(data, Splits):
            raise DataError(
                f"{path} is a data set of several parts",
                expected="one file",
                remedy="name one of its files",
            )
        return data

    def attack_sources(self, own: "Sequence[AttackFiles]" = ()) -> "AttackSources":
        """Return where the texts of attacks come from; files of the user's own are read."""
        from prune_env.research.attacks import AttackSources, read_own_attack

        read = tuple(read_own_attack(files, self.load_file) for files in own)
        return AttackSources(self.data_folder, self.allow_download, read)

    def load_splits(self, name_or_path: str) -> Splits:
        """Return a data set that has all three parts.

        Raises:
            DataError: It is a single table.
        """
        data = self.load(name_or_path)
        if isinstance(data, TextDataset):
            raise DataError(
                f"{name_or_path} is a single table",
                expected="a named data set, or a folder with train, validation and test files",
                remedy="put the three files into one folder",
            )
        return data


def show(as_json: bool, value: Any, *pages: RenderableType) -> None:
    """Print a result on stdout: the value as JSON, or the pages for a person.

    Args:
        as_json: Which of the two.
        value: Plain JSON values.
        *pages: Renderables of rich.
    """
    if as_json:
        print(json.dumps(value, indent=2, allow_nan=False))
        return
    console = make_console()
    for page in pages:
        # A line to copy, such as a path, is broken by the terminal only.
        with console.capture() as drawn:
            console.print(page, soft_wrap=isinstance(page, str))
        # Cells of a table are filled with blanks, which nobody wants in a file.
        console.file.writelines(f"{line.rstrip()}\n" for line in drawn.get().splitlines())
        console.file.flush()


def make_console() -> Console:
    """Return stdout: a file has no width, so pages in it are drawn for 100 columns."""
    console = Console(emoji=False)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(width=100, emoji=False)


def facts(rows: Sequence[tuple[str, str]]) -> RenderableType:
    """Return named facts, one a line, in two columns."""
    from rich.table import Table  # only when something is printed

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")  # a long path, which is to be copied, is broken, not cut
    for name, value in rows:
        grid.add_row(name, as_it_is(value))
    return grid


def as_it_is(name: str, style: str = "") -> "Text":
    """Return a name of a user or a stranger for a page: nothing in it is markup or a command."""
    from rich.text import Text

    return Text(errors.printable(name), style=style)


def printable_lines(text: str) -> str:
    """Return text of our own lines, control characters in them spelt out."""
    return "\n".join(map(errors.printable, text.split("\n")))
