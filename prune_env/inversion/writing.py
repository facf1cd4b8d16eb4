"""How a language is written: where its texts fall into words."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prune_env.data.dataset import TextDataset
from prune_env.data.pairs import first_and_second, is_pair, text_pair
from prune_env.inversion.frames import CLOSERS, ENDS, split_words
from prune_env.models.inputs import row_limit
from prune_env.models.tokenizer_trial import try_texts

if TYPE_CHECKING:
    from prune_env.models import LoadedModel


COMMAS = ",\u060c"
"""Commas of scripts with spaces: Latin, Arabic."""


@dataclass(frozen=True)
class Writing:
    """How a language is written: how its texts fall into words, and how words make a text.

    Attributes:
        split: Splits a text into words and marks.
        spaced: Whether there are spaces between words.
        comma: What sets words off, where there are.
    """

    split: Callable[[str], list[str]] = split_words
    spaced: bool = True
    comma: str = COMMAS[0]

    def words(self, text: str) -> list[str]:
        """Return what stands between spaces; without any, what `split` makes of the text."""
        return text.split() if self.spaced else self.split(text)

    def beginning(self, text: str, most: int) -> str:
        """Return so much of a text that no more than `most` words are left, whole sentences if any.

        Example:
            >>> Writing().beginning("Warm. And so short, it was over soon.", 6)
            'Warm.'
            >>> Writing().beginning("Warm. And so short, it was over soon.", 8)
            'Warm. And so short, it was over soon.'
        """
        words = self.words(text)
        if len(words) <= most:
            return text
        ends = [place for place, word in enumerate(words[:most], 1) if _ENDING.search(word)]
        kept = words[: ends[-1] if ends else most]
        if self.spaced:
            return " ".join(kept)
        end = 0
        for word in kept:
            end = text.index(word, end) + len(word)
        return text[:end]  # with the spaces that there are


_ENDING = re.compile(rf"[{ENDS}][{CLOSERS}]*$")

SPACED = Writing()
"""Scripts with spaces between words, such as the Latin one."""

_WITHOUT_SPACES = re.compile(
    "["
    "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"  # Han
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Kana
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "]+"
)
SHARE = 1 / 3
"""Of the letters that must be of such scripts: one of Han says as much as a few Latin ones, which
stand among them in names."""

SEGMENTED = 4
"""Letters to a space, vowels that are marks left out, up to which words of such a script were put
apart. Spaces between sentences, as in Thai, are rarer."""

LONGEST_WORD = 15
"""Characters to a space from which on a text of any script counts as written without them."""


ROUND = 24
"""Tokens that are left free for what is put round a text."""


def beginnings(
    texts: Sequence[str], writing: Writing, loaded: "LoadedModel", *, most: int, max_length: int
) -> list[str]:
    """Return so much of each text that what is put behind it is still read.

    Args:
        texts: Any.
        writing: How they are written.
        loaded: Whose tokenizer cuts them; a word may be one token or many.
        most: Words that are left at most.
        max_length: Tokens that the model reads of a text.
    """
    limit = row_limit(max_length, loaded.tokenizer)
    room = max(limit - ROUND, limit // 2)
    try_texts(loaded.tokenizer, texts)
    rows = loaded.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    found = []
    for text, row in zip(texts, rows, strict=True):
        words = most
        if len(row) > room:
            words = min(most, max(1, len(writing.words(text)) * room // len(row)))
        found.append(_beginning(writing, text, words))
    return found


def _beginning(writing: Writing, text: str, most: int) -> str:
    """Return the beginning of a text, or of both of a pair: what one leaves is the other's."""
    if not is_pair(text):
        return writing.beginning(text, most)
    texts = first_and_second(text)
    counts = [len(writing.words(each)) for each in texts]
    half = max(1, most // 2)
    rooms = (max(half, most - counts[1]), max(half, most - counts[0]))
    return text_pair(*map(writing.beginning, texts, rooms))


def writing_of(data: TextDataset, loaded: "LoadedModel") -> Writing:
    """Return how the texts are written; without spaces, words are what the tokenizer cuts.

    Args:
        data: Texts.
        loaded: Whose tokenizer is asked.
    """
    if _is_spaced(data.texts):
        text = "".join(data.texts)
        return Writing(comma=max(COMMAS, key=text.count))
    tokenizer = loaded.tokenizer
    # As they are and in small letters, which searches compare: each is split by itself below.
    try_texts(tokenizer, [*data.texts, *(text.lower() for text in data.texts)])

    def split(text: str) -> list[str]:
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        spans: list[tuple[int, int]] = []
        for start, end in found["offset_mapping"]:
            if spans and start < spans[-1][1]:  # tokens of bytes: several are one letter
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            else:
                spans.append((start, end))
        pieces = (text[start:end].strip() for start, end in spans)
        return [piece for piece in pieces if piece]

    return Writing(split, spaced=False)


def _is_spaced(texts: Sequence[str]) -> bool:
    """Whether there are spaces between words: as the script has it, or the runs of letters."""
    without = sum(len(run) for text in texts for run in _WITHOUT_SPACES.findall(text))
    letters = sum(sum(map(str.isalpha, text)) for text in texts) if without else 0
    if without > SHARE * letters:
        spaces = sum(len(text.split()) - 1 for text in texts)
        return letters <= SEGMENTED * spaces
    runs = [len(text) / max(1, len(text.split())) for text in texts]
    return bool(np.median(runs) <= LONGEST_WORD)
