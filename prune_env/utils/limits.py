"""How much of a stranger's file is taken: every limit by its kind, in one place.

A limit is compared with a size that is known before the work that it guards: the size of a file,
the header of an image, the count of entries. `docs/reliability.md` holds the table.
"""

import os
from dataclasses import dataclass, field
from typing import Any, TypeVar

from prune_env.errors import GET_AGAIN, PruneEnvError, SettingsError

E = TypeVar("E", bound=PruneEnvError)
MIB = 2**20
VARIABLE = "PRUNE_ENV_MAX_"
"""How the environment variable begins that raises a limit; the limit's name in capitals follows."""


@dataclass(frozen=True)
class Limit:
    """The most of one thing that is taken.

    Attributes:
        name: In `LIMITS`.
        default: The most, unless it is raised.
        unit: Of the number.
        remedy: What to do instead of raising it.
        fixed: Whether it cannot be raised: nothing honest comes near it.
        variable: Name of the environment variable that raises it.
    """

    name: str
    default: int
    unit: str
    remedy: str
    fixed: bool = False
    variable: str = field(init=False)

    def __post_init__(self) -> None:
        """Name the variable."""
        object.__setattr__(self, "variable", VARIABLE + self.name.upper())

    @property
    def value(self) -> int:
        """The most that is taken in this process.

        Raises:
            SettingsError: The environment variable is no positive number.
        """
        given = "" if self.fixed else os.environ.get(self.variable, "")
        if not given:
            return self.default
        if not given.isdecimal() or len(given) > 18 or int(given) == 0:
            raise SettingsError(
                f"The environment variable {self.variable} is no limit",
                expected=f"a number of {self.unit}",
                actual=given,
            )
        return int(given)

    def check(self, actual: int, what: str, error: type[PruneEnvError]) -> None:
        """Raise what `exceeded` returns if there is more than this.

        Args:
            actual: How much there is.
            what: Sentence for the user that says what there is too much of.
            error: Class of the error.
        """
        if actual > self.value:
            raise self.exceeded(actual, what, error)

    def exceeded(self, actual: int, what: str, error: type[E]) -> E:
        """Return the error for more than this; arguments as those of `check`."""
        raisable = "" if self.fixed else f"; or set {self.variable}, if you trust its source"
        return error(
            what,
            expected=f"up to {self.value:,} {self.unit}",
            actual=f"{actual:,}",
            remedy=self.remedy + raisable,
        )


TOKENIZER = f"do not use this tokenizer, or {GET_AGAIN}"

FOLDER_FILES = Limit("folder_files", 2_000, "files", "give a folder that holds one model alone")
REF_BYTES = Limit("ref_bytes", 1_000, "bytes", "download the model again", fixed=True)
CONFIG_BYTES = Limit("config_bytes", 4 * MIB, "bytes", GET_AGAIN)
CONFIG_ENTRIES = Limit("config_entries", 60_000, "entries", GET_AGAIN)
CONFIG_DEPTH = Limit("config_depth", 32, "levels", GET_AGAIN, fixed=True)
INDEX_BYTES = Limit("index_bytes", 8 * MIB, "bytes", GET_AGAIN)
LABELS = Limit("labels", 25_000, "labels", "correct id2label in config.json")
HEADER_BYTES = Limit("header_bytes", 8 * MIB, "bytes", GET_AGAIN)
TENSORS = Limit("tensors", 20_000, "tensors", GET_AGAIN)
TENSOR_NAME = Limit("tensor_name", 500, "characters", GET_AGAIN, fixed=True)
WEIGHT_BYTES = Limit("weight_bytes", 64 * 1024 * MIB, "bytes", "take a smaller model")
HASHED_BYTES = Limit("hashed_bytes", 1024 * MIB, "bytes", "take the file out of the folder")
TOKENIZER_BYTES = Limit("tokenizer_bytes", 64 * MIB, "bytes", TOKENIZER)
TOKENIZER_ENTRIES = Limit("tokenizer_entries", 3_000_000, "entries", TOKENIZER)
VOCABULARY = Limit("vocabulary", 600_000, "tokens", TOKENIZER)
MERGES = Limit("merges", 1_000_000, "merges", TOKENIZER)
ADDED_TOKENS = Limit("added_tokens", 10_000, "tokens", TOKENIZER)
ADDED_CHARACTERS = Limit("added_characters", 1_000_000, "characters", TOKENIZER, fixed=True)
SENTENCEPIECE_BYTES = Limit("sentencepiece_bytes", 16 * MIB, "bytes", TOKENIZER)
TOKENIZER_STEPS = Limit("tokenizer_steps", 64, "steps", TOKENIZER, fixed=True)
TOKENIZER_GROWTH = Limit("tokenizer_growth", 1_000, "times as long", TOKENIZER, fixed=True)
PROCESSOR_ENTRIES = Limit("processor_entries", 1_000, "entries", TOKENIZER, fixed=True)
CHARSMAP = Limit("charsmap", 2 * MIB, "characters", TOKENIZER, fixed=True)
PATTERN = Limit("pattern", 2_000, "characters", TOKENIZER, fixed=True)
REPLACEMENT = Limit("replacement", 100, "characters", TOKENIZER, fixed=True)
WORD = Limit("word", 1_000, "characters", TOKENIZER, fixed=True)
TOKENIZER_SECONDS = Limit("tokenizer_seconds", 3, "seconds of computing", TOKENIZER)
TOKENIZER_MEMORY = Limit("tokenizer_memory", 1024 * MIB, "bytes", TOKENIZER)
TOKENS_PER_BYTE = Limit("tokens_per_byte", 32, "tokens for each byte of a text", TOKENIZER, True)
TABLE_BYTES = Limit("table_bytes", 128 * MIB, "bytes", "split the table, or take a part of it")
TABLE_LINES = Limit("table_lines", 5_000_000, "lines", "split the table, or take a part of it")
TABLE_LINE = Limit("table_line", 16_000_000, "characters", "take long texts out, or cut them")
TABLE_COLUMNS = Limit("table_columns", 1_000, "columns", "keep the columns of texts and labels")
TEXT = Limit("text", 2_000_000, "characters", "cut the text; a model reads its beginning alone")
IMAGE_BYTES = Limit("image_bytes", 64 * MIB, "bytes", "scale the image down")
IMAGE_PIXELS = Limit("image_pixels", 50_000_000, "pixels", "scale the image down")
IMAGE_RATIO = Limit("image_ratio", 16, "times as long as wide", "cut the image")
CELLS = Limit("cells", 20_000, "cells", "split the grid into several files")
ARRAY_BYTES = Limit("array_bytes", 256 * MIB, "bytes", "restore the file, or make it again")
TENSOR_BYTES = Limit("tensor_bytes", 1024 * MIB, "bytes", "restore the file, or make it again")
STATE_BYTES = Limit("state_bytes", 64 * MIB, "bytes", "restore the file, or make it again")
STATE_ENTRIES = Limit("state_entries", 4_000_000, "entries", "restore the file, or make it again")

LIMITS = tuple(value for value in globals().values() if isinstance(value, Limit))
"""All of them, for the table in the documents."""

MOST_SIDE = 1_000
"""Layers of a model, and heads of a layer, that a file of results may tell of."""


def require_count(value: Any, least: int, most: int) -> int:
    """Return a JSON value that is a whole number from `least` to `most`.

    Raises:
        ValueError: It is none.
    """
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r:.40}, where a number from {least:,} to {most:,} is due")
    return value
