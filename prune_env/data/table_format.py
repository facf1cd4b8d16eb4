"""How tables are read, as options of a verb and arguments of an environment say it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal, TypeVar

from prune_env.data.dataset import Splits, TextDataset
from prune_env.data.images import ImageDataset
from prune_env.data.loading import Part, has_parts, load_data
from prune_env.data.readers import column_names
from prune_env.errors import SettingsError
from prune_env.utils.plain import from_plain

Format = TypeVar("Format", bound="TableFormat")

Named = str | Mapping[str, Any]
"""Clean data as an argument names it, see `named_data`."""

NAME = "name"


@dataclass(frozen=True)
class TableFormat:
    """How tables of texts are read.

    Attributes:
        text_column: Column of the texts.
        pair_column: For models that read two texts, such as premise and hypothesis: column of the
            second ones.
        image_column: For models that read images: column of the paths of PNG, JPEG, WebP or BMP
            files, relative to the table; there is no text column then.
        label_column: Column of the labels.
        label_names: Names of the classes in label order; default: negative positive.
        on_bad_row: `error` stops at a row that cannot be read, `skip` leaves it out and counts it.
        data_folder: Where the files of a named data set are, such as sst2.
    """

    text_column: str = "sentence"
    pair_column: str | None = None
    image_column: str | None = None
    label_column: str = "label"
    label_names: tuple[str, ...] | None = None
    on_bad_row: Literal["error", "skip"] = "error"
    data_folder: Path | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that are read, that of labels last."""
        return column_names(
            self.image_column or self.text_column, self.pair_column, self.label_column
        )

    def like(self: Format, data: TextDataset) -> Format:
        """Return how a table is read that goes with data of a name: of its kind and classes."""
        kind = "image" if isinstance(data, ImageDataset) else None
        return replace(
            self,
            image_column=self.image_column or kind,
            label_names=self.label_names or data.label_names,
        )

    def load(self, name_or_path: str, part: Part | None = None) -> TextDataset | Splits:
        """Return the data set of a name, a file or a folder; or the only part that is read."""
        return self._load(name_or_path, part, allow_download=False)

    def _load(
        self, name_or_path: str, part: Part | None, *, allow_download: bool
    ) -> TextDataset | Splits:
        return load_data(
            name_or_path,
            folder=self.data_folder,
            allow_download=allow_download,
            text_column=self.text_column,
            pair_column=self.pair_column,
            image_column=self.image_column,
            label_column=self.label_column,
            label_names=self.label_names,
            on_bad_row=self.on_bad_row,
            part=part,
        )

    def load_part(self, name_or_path: str, part: Part) -> TextDataset:
        """Return a single table; of a data set with parts that one, the others unread."""
        data = self.load(name_or_path, part)
        assert isinstance(data, TextDataset)
        return data

    def load_two(self, name_or_path: str) -> tuple[TextDataset, TextDataset]:
        """Return the rows to train on, and to validate on; of a single table all are both."""
        train = self.load_part(name_or_path, "train")
        if not has_parts(name_or_path):
            return train, train
        return train, self.load_part(name_or_path, "validation")

    def named(self, name_or_path: str) -> Named:
        """Return data that is read so as an argument says it; `named_data` reads it back."""
        own = {
            name: getattr(self, name)
            for name, usual in vars(TableFormat()).items()
            if getattr(self, name) != usual
        }
        if self.label_names is not None:
            own["label_names"] = list(self.label_names)
        if self.data_folder is not None:
            own["data_folder"] = str(self.data_folder)
        return {NAME: name_or_path, **own} if own else name_or_path


def named_data(data: Named | PathLike[str]) -> tuple[str, TableFormat]:
    """Return which data an argument names, and how its tables are read.

    Args:
        data: A file, folder or name; or a mapping of that, as `name`, and of what is different in
            a `TableFormat`, such as `{"name": "mails.csv", "label_names": ["ham", "spam"]}`.

    Raises:
        SettingsError: It is something else, or a key is unknown, missing or of another type.
    """
    if isinstance(data, str | PathLike):
        return fspath(data), TableFormat()
    if not isinstance(data, Mapping):
        raise SettingsError(
            "data is of the wrong type",
            expected='a file, folder or name, or {"name": that, "text_column": ...}',
            actual=f"{data!r:.200} ({type(data).__name__})",
        )
    name = data.get(NAME)
    if not isinstance(name, str | PathLike):
        raise SettingsError(
            "data does not name what is read",
            expected='"name": a file, folder or name',
            actual=f"{name!r:.200}",
        )
    rest = {key: value for key, value in data.items() if key != NAME}
    return fspath(name), from_plain(TableFormat, rest, "data")
