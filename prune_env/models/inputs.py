"""Texts and images as rows of inputs: texts are tokenised once, padded only when a batch asks."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from prune_env.data.dataset import TextDataset
from prune_env.data.images import ImageDataset, open_image
from prune_env.data.pairs import as_arguments, first_and_second, shown
from prune_env.errors import DataError
from prune_env.models.tokenizer_trial import try_texts
from prune_env.settings import check_length
from prune_env.utils.counts import count_of
from prune_env.utils.files import sha256_of


class Rows(ABC):
    """Fixed samples, from which batches of a model's inputs are made.

    Attributes:
        lengths: int64 (S,), tokens of each sample.
        truncated: How many samples were cut.
    """

    lengths: npt.NDArray[np.int64]
    truncated: int

    def __len__(self) -> int:
        return len(self.lengths)

    @abstractmethod
    def batch(self, rows: npt.NDArray[np.int64], device: torch.device) -> dict[str, torch.Tensor]:
        """Return the model inputs of some rows."""

    @abstractmethod
    def update_hash(self, digest: Any) -> None:
        """Feed all content to a hash of `hashlib`."""


class TokenRows(Rows):
    """Token rows of fixed texts, without padding.

    Args:
        texts: S texts, or S pairs (`prune_env.data.pairs`).
        tokenizer: The tokenizer of the model.
        max_length: Longer rows are cut to so many tokens, or to what the model takes.

    Attributes:
        lengths: int64 (S,), tokens of each row.
        truncated: How many rows were cut.

    Raises:
        DataError: A text has no token at all.
        ModelError: The tokenizer fails on a text, or takes too much time or memory for it.
    """

    def __init__(
        self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int
    ) -> None:
        longest = row_limit(max_length, tokenizer)
        arguments = as_arguments(texts)
        for each in arguments:
            try_texts(tokenizer, each)
        encoded = tokenizer(*arguments, truncation=True, max_length=longest)
        self._tokenizer = tokenizer
        self._fields: dict[str, list[list[int]]] = {
            name: encoded[name] for name in tokenizer.model_input_names if name in encoded
        }
        self.lengths = np.array([len(row) for row in encoded["input_ids"]], np.int64)
        empty = np.flatnonzero(self.lengths == 0)
        if empty.size:
            raise DataError(
                f"Row {empty[0] + 1} has no token",
                expected="at least one token per text",
                actual=repr(shown(texts[empty[0]])),
                remedy="remove blank texts, for this tokenizer adds no special tokens to them",
            )
        encodings = encoded.encodings or ()
        self.truncated = sum(bool(encoding.overflowing) for encoding in encodings)

    def row(self, row: int) -> dict[str, list[int]]:
        """Return the model inputs of one row, as lists of its length."""
        return {name: field[row] for name, field in self._fields.items()}

    def batch(self, rows: npt.NDArray[np.int64], device: torch.device) -> dict[str, torch.Tensor]:
        """Return the model inputs of some rows, padded to the longest of them."""
        picked = {name: [field[row] for row in rows] for name, field in self._fields.items()}
        padded = self._tokenizer.pad(picked, return_tensors="pt")
        return {name: tensor.to(device) for name, tensor in padded.items()}

    def first_tokens(self, count: int, device: torch.device) -> dict[str, torch.Tensor]:
        """Return `count` inputs that are one token long: what a model that pools it needs."""
        return {
            name: torch.tensor(field[0][:1], device=device).repeat(count, 1)
            for name, field in self._fields.items()
        }

    def update_hash(self, digest: Any) -> None:
        """Feed every token of every row to a hash of `hashlib`."""
        for name, field in sorted(self._fields.items()):
            digest.update(name.encode())
            for row in field:
                digest.update(np.array([len(row), *row], "<i8").tobytes())


def own_tokens(tokenizer: Any) -> set[int]:
    """Return the tokens that a tokenizer puts round a text and beside it: padding.

    Other special tokens are tokens like all others: any may be written into a text, and a
    tokenizer of a stranger may call a plain word special.
    """
    padding = () if tokenizer.pad_token_id is None else (tokenizer.pad_token_id,)
    return {*tokenizer("")["input_ids"], *padding}


def row_limit(max_length: int, tokenizer: Any) -> int:
    """Return the longest row that was asked for and that the tokenizer makes.

    Loading sets a tokenizer's `model_max_length` to what its model takes.
    """
    return int(min(max_length, tokenizer.model_max_length))


def token_limit(max_length: int, tokenizer: Any, config: PreTrainedConfig) -> int:
    """Return the longest row that was asked for and that tokenizer and model can take.

    Raises:
        SettingsError: `max_length` leaves no room for a sentence.
    """
    check_length(max_length)
    positions = getattr(config, "max_position_embeddings", None)
    limits = [max_length, getattr(tokenizer, "model_max_length", max_length)]
    if isinstance(positions, int) and positions > 0:
        limits.append(positions)
    return min(limits)


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


def real_tokens(inputs: dict[str, torch.Tensor], columns: int) -> torch.Tensor:
    """Return int64 (B, columns), 1 where a model's input is a real token; of images, all are."""
    if "attention_mask" in inputs:
        return inputs["attention_mask"]
    pixels = inputs["pixel_values"]
    return torch.ones((len(pixels), columns), dtype=torch.int64, device=pixels.device)


def check_kind(processor: Any, data: TextDataset) -> None:
    """Refuse images for a model of texts, texts for a model of images, and texts without a token.

    Raises:
        DataError: They do not fit, or the tokenizer makes nothing of a blank text.
    """
    images = reads_images(processor)
    if images != isinstance(data, ImageDataset):
        kinds = ("images", "texts") if images else ("texts", "images")
        column = "of a table give --image-column" if images else "leave --image-column out"
        raise DataError(
            f"The model reads {kinds[0]}, and {data.source} holds {kinds[1]}",
            expected=f"a table of {'paths of images' if images else 'texts'} and labels",
            remedy=f"{column}, or choose another data set",
        )
    blank = [] if images else [text for text in data.texts if not any(first_and_second(text))]
    if blank and not all(processor(*as_arguments(blank))["input_ids"]):
        raise DataError(
            f"{data.source} holds {count_of(len(blank), 'blank text')}, "
            "of which this tokenizer makes no token",
            expected="at least one token per text",
            actual=repr(shown(blank[0])),
            remedy="remove their rows",
        )
