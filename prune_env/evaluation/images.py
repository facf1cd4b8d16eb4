"""Images as rows: read when a batch asks for them, since pixels take far more room than tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from prune_env.data.dataset import TextDataset
from prune_env.data.images import ImageDataset, open_image
from prune_env.errors import DataError
from prune_env.evaluation.tokens import Rows, TokenRows
from prune_env.files import sha256_of

TOKENS = 64
"""An image counts as so many tokens where batches are made."""


class ImageRows(Rows):
    """Images of fixed paths.

    Args:
        paths: S paths.
        processor: The image processor of the model.

    Raises:
        DataError: When an image is read that is damaged.
    """

    def __init__(self, paths: Sequence[str], processor: Any) -> None:
        self._paths = tuple(paths)
        self._processor = processor
        self.lengths = np.full(len(self._paths), TOKENS, np.int64)
        self.truncated = 0

    def batch(self, rows: npt.NDArray[np.int64], device: torch.device) -> dict[str, torch.Tensor]:
        """Return the pixels of some rows, as the model takes them."""
        images = [open_image(self._paths[row]) for row in rows]
        return {
            "pixel_values": self._processor(images, return_tensors="pt")["pixel_values"].to(device)
        }

    def update_hash(self, digest: Any) -> None:
        """Feed the bytes of every file to a hash of `hashlib`."""
        for path in self._paths:
            digest.update(sha256_of(Path(path)).encode())


def reads_images(processor: Any) -> bool:
    """Whether a model's processor takes images, and no texts."""
    return "pixel_values" in processor.model_input_names


def make_rows(texts: Sequence[str], processor: Any, max_length: int) -> Rows:
    """Return texts as token rows, or paths as images, whichever a model's processor takes."""
    if reads_images(processor):
        return ImageRows(texts, processor)
    return TokenRows(texts, processor, max_length)


def check_kind(processor: Any, data: TextDataset) -> None:
    """Refuse images for a model of texts, and texts for a model of images.

    Raises:
        DataError: They do not fit.
    """
    images = reads_images(processor)
    if images != isinstance(data, ImageDataset):
        kinds = ("images", "texts") if images else ("texts", "images")
        raise DataError(
            f"The model reads {kinds[0]}, and {data.source} holds {kinds[1]}",
            expected=f"a table of {'paths of images' if images else 'texts'} and labels",
            remedy="give --image-column" if images else "leave --image-column out",
        )
