"""Labelled images: a table of paths, read as strictly as a table of texts."""

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from prune_env.data.dataset import TextDataset
from prune_env.data.readers import OnBadRow, read_table
from prune_env.errors import DataError
from prune_env.utils.counts import count_of
from prune_env.utils.files import sha256_of
from prune_env.utils.limits import IMAGE_BYTES, IMAGE_PIXELS, IMAGE_RATIO
from prune_env.utils.reading import opened

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
"""What is decoded, whatever a file is called; rarer formats are rarely fuzzed."""


class ImageDataset(TextDataset):
    """Images with one label each: `texts` holds their absolute paths."""

    @cached_property
    def sha256(self) -> str:
        """Identity of the content: the files' bytes, labels and label names, in order."""
        labels = TextDataset(("",) * len(self), self.labels, self.label_names).sha256
        digest = hashlib.sha256(labels.encode())
        for path in self.texts:
            digest.update(sha256_of(Path(path)).encode())
        return digest.hexdigest()

    @property
    def keys(self) -> Iterator[str]:
        """What each row is known by: the bytes of its file."""
        return (sha256_of(Path(path)) for path in self.texts)


def read_images(
    path: str | Path,
    *,
    image_column: str = "image",
    label_column: str = "label",
    label_names: Sequence[str] | None = None,
    on_bad_row: OnBadRow = "error",
) -> ImageDataset:
    """Read a table of image files and labels.

    Args:
        path: A .tsv, .csv or .jsonl file.
        image_column: Column of the paths, relative to the folder of the table, or absolute.
        label_column: As for `read_table`, and so are the others.
        label_names: One name per class.
        on_bad_row: `"error"`; or `"skip"`, which also leaves out images that cannot be read.

    Raises:
        DataError: As `read_table` says, or a file is missing or begins as no image does.
    """
    table = read_table(
        path,
        text_column=image_column,
        label_column=label_column,
        label_names=label_names,
        on_bad_row=on_bad_row,
    )
    folder = Path(path).resolve().parent
    files = tuple(str(folder / name) for name in table.texts)
    # Path.is_file raises for names that no file can have.
    if on_bad_row == "skip":
        return _readable(files, table)
    missing = [name for name in files if not os.path.isfile(name)]
    if missing:
        raise DataError(
            f"{path} names {count_of(len(missing), 'image')} without a file",
            expected=f"paths relative to {folder}, in the column '{image_column}'",
            actual=", ".join(f"{name:.300}" for name in missing[:3]),
            remedy="correct the paths",
        )
    for name in files:
        with _headed(name):  # hours of work may come before its row
            pass
    return ImageDataset(files, table.labels, table.label_names, table.source, table.skipped)


def _readable(files: tuple[str, ...], table: TextDataset) -> ImageDataset:
    """Return the rows whose image can be read; the others are counted.

    Raises:
        DataError: There is none.
    """
    kept = [row for row, name in enumerate(files) if _is_whole(name)]
    if not kept:
        raise DataError(
            f"{table.source} names no image that can be read",
            expected=f"paths of whole files of {', '.join(FORMATS)}",
            actual=f"{count_of(len(files), 'row')}, the first of which is {files[0]:.300}",
            remedy="correct the paths, or --image-column",
        )
    return ImageDataset(
        tuple(files[row] for row in kept),
        table.labels[kept],
        table.label_names,
        table.source,
        table.skipped + len(files) - len(kept),
    )


def _is_whole(path: str) -> bool:
    try:
        open_image(path)
    except DataError:
        return False
    return True


def open_image(path: str) -> "Image":
    """Return an image as RGB, turned as its EXIF data says, as transformers reads it.

    Raises:
        DataError: The file is missing, damaged, too large, or of another format.
    """
    from PIL import ImageOps  # noqa: PLC0415 - texts need it not

    with _headed(path) as image:
        rgb: Image = ImageOps.exif_transpose(image).convert("RGB")
        return rgb


@contextmanager
def _headed(path: str) -> "Iterator[Image]":
    """Give an image whose header alone is read to a body that may decode it.

    Raises:
        DataError: As `open_image`; what the body raises counts as damage.
    """
    from PIL import Image  # noqa: PLC0415 - texts need it not

    try:
        with (
            opened(Path(path), IMAGE_BYTES, DataError) as file,
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(file, formats=FORMATS) as image,
        ):
            pixels = image.width * image.height
            IMAGE_PIXELS.check(pixels, f"{path[:200]!r} is too large an image", DataError)
            ratio = max(image.size) // max(1, min(image.size))
            IMAGE_RATIO.check(ratio, f"{path[:200]!r} is too long an image", DataError)
            yield image
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(
            f"There is no image {path[:200]!r}",
            expected="a file where the table says",
            actual="no such file",
            remedy="put it back, or take its row out of the table",
        ) from error
    except Exception as error:  # each format of the library has errors of its own
        raise DataError(
            f"{path[:200]!r} is no image that can be read",
            expected=f"a whole file of {', '.join(FORMATS)}",
            actual=f"{type(error).__name__}: {error}"[:200],
            remedy="repair the file, or take its row out of the table",
        ) from None
