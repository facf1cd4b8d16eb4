"""How a language is written: where its texts fall into words."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prune_env.data.dataset import TextDataset
from prune_env.inversion.frames import split_words

if TYPE_CHECKING:
    from prune_env.models import LoadedModel


@dataclass(frozen=True)
class Writing:
    """How a language is written: how its texts fall into words, and how words make a text.

    Attributes:
        split: Splits a text into words and marks.
        spaced: Whether there are spaces between words.
    """

    split: Callable[[str], list[str]] = split_words
    spaced: bool = True

    def beginning(self, text: str, most: int) -> str:
        """Return so much of a text that no more than `most` words are left, whole sentences if any.

        Example:
            >>> Writing().beginning("Warm. And so short, it was over soon.", 6)
            'Warm.'
            >>> Writing().beginning("Warm. And so short, it was over soon.", 8)
            'Warm. And so short, it was over soon.'
        """
        words = text.split() if self.spaced else self.split(text)
        if len(words) <= most:
            return text
        ends = [place for place, word in enumerate(words[:most], 1) if _ENDING.search(word)]
        return (" " if self.spaced else "").join(words[: ends[-1] if ends else most])


_ENDING = re.compile(r"[.?!\u3002\uff01\uff1f][\"')\]]*$")
"""What a sentence ends with: full stops of Latin and of Chinese and Japanese."""

SPACED = Writing()
"""Scripts with spaces between words, such as the Latin one."""

LONGEST_WORD = 15
"""Characters to a space from which on a text counts as written without them."""


def writing_of(data: TextDataset, loaded: "LoadedModel") -> Writing:
    """Return how the texts are written; without spaces, words are what the tokenizer cuts.

    Args:
        data: Texts.
        loaded: Whose tokenizer is asked.
    """
    runs = [len(text) / max(1, len(text.split())) for text in data.texts]
    if np.median(runs) <= LONGEST_WORD:
        return SPACED
    tokenizer = loaded.tokenizer

    def split(text: str) -> list[str]:
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        pieces = (text[start:end].strip() for start, end in found["offset_mapping"])
        return [piece for piece in pieces if piece]

    return Writing(split, spaced=False)
