"""Handwritten digits: small images that come with scikit-learn."""

from pathlib import Path

import numpy as np

from prune_env.data.dataset import Splits
from prune_env.data.images import ImageDataset
from prune_env.errors import DataError
from prune_env.utils.files import cache_folder, made_once

NAMES = tuple("0123456789")
LEVELS = 16
"""The images' white; black is 0."""


def load_digits(folder: Path | None, allow_download: bool) -> Splits:
    """Return 1,197 / 200 / 400 images of 8 x 8 pixels, ten classes.

    Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, UCI 1998), as scikit-learn holds
    it. The images are written into the cache once; the parts are drawn with a fixed seed.

    Raises:
        DataError: scikit-learn is not installed.
        StateError: The cached images are not as they were made.
    """
    del folder, allow_download  # they are installed with the `report` extra
    try:
        from sklearn import datasets  # noqa: PLC0415 - takes long, and is an extra
    except ImportError:
        raise DataError(
            "digits needs the package scikit-learn", remedy="pip install 'prune-env[report]'"
        ) from None
    images, labels = datasets.load_digits(return_X_y=True)
    place = cache_folder() / "digits" / "v1"

    def write(folder: Path) -> None:
        from PIL import Image  # noqa: PLC0415 - texts need it not

        pixels = (images.reshape(-1, 8, 8) * 255 / LEVELS).round().astype(np.uint8)
        for row, each in enumerate(pixels):
            Image.fromarray(each).save(folder / f"{row:04}.bmp")

    made_once(place, write)
    files = [str(place / f"{row:04}.bmp") for row in range(len(labels))]
    order = np.random.default_rng(0).permutation(len(labels))
    whole = ImageDataset(
        tuple(files[row] for row in order), labels[order].astype(np.int64), NAMES, "digits"
    )
    train, validation, test = np.split(np.arange(len(whole)), [len(whole) - 600, len(whole) - 400])
    return Splits(whole.select(train), whole.select(validation), whole.select(test))
