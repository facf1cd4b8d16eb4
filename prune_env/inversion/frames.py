"""Frames of words round a text, written as the text is: with marks glued to words, or apart."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from prune_env.data.pairs import first_and_second, is_pair, text_pair

ENDS = ".?!\u2026\u3002\uff0e\uff01\uff1f\u0964\u0965\u061f\u06d4"
"""What sentences end with: Latin, Chinese and Japanese, Devanagari, Arabic and Urdu."""

CLOSERS = "\"')\\]\u201d\u2019\xbb\u203a\u300d\u300f\uff09"
"""What may close behind that, for a class of characters: quotation marks and brackets."""

_MARKS = f"{ENDS},;:\u3001\uff0c\uff1b\uff1a\u060c\u061b"
_ENDS_GLUED = re.compile(rf"[^\s{_MARKS}][{_MARKS}]+[{CLOSERS}]*$")
_MARK_ALONE = re.compile(rf" [{_MARKS}]( |$)")
_MARK_OR_ENDING = re.compile(
    rf"(--|(?<![{_MARKS}])[{_MARKS}]++(?=[\s{CLOSERS}]|$)|(?<=\w)['\u2019](?:s|re|ve|ll|d|m)\b)"
)
_BEFORE_GLUED = re.compile(rf" ([{_MARKS}]|['\u2019]\w)")


@dataclass(frozen=True)
class Frame:
    """Puts words before or behind a text, written as the text is.

    Attributes:
        before: Words in front, separated by spaces as marks are; may be empty.
        after: Words behind, which then replace the full stop; may be empty.
        spaced: Whether texts are written with spaces between words.
        as_spelled: Whether the first word keeps its small letter in front of a capital one: a model
            that tells them apart knows another word by `Cf`.

    Example:
        >>> Frame("as it is ,", "")("a warm film .")
        'as it is , a warm film .'
        >>> Frame("", ", you know")("a warm film .")
        'a warm film , you know'
        >>> Frame("as it is ,", "")("A warm film.")
        'As it is, A warm film.'
        >>> Frame("", ", you know")("A warm film.")
        'A warm film, you know'
    """

    family: ClassVar[str] = "inverted"

    before: str = ""
    after: str = ""
    spaced: bool = True
    as_spelled: bool = False

    def __call__(self, text: str) -> str:
        """Return the text in the frame."""
        if not self.spaced:
            before, after = (part.replace(" ", "") for part in (self.before, self.after))
            return f"{before}{text.rstrip(ENDS) if after else text}{after}"
        glued = _is_glued(text)
        words = text.split()
        if self.after:
            while words and words[-1] in tuple(ENDS):
                words.pop()
            if glued and words:
                words[-1] = words[-1].rstrip(ENDS)
        if not glued:
            return " ".join(part for part in (self.before, *words, self.after) if part)
        # The frame's own marks are glued, the text stays as it was written.
        before = _BEFORE_GLUED.sub(r"\1", self.before)
        after = _BEFORE_GLUED.sub(r"\1", f" {self.after}") if self.after else ""
        if before and text[:1].isupper() and not self.as_spelled:
            before = before[0].upper() + before[1:]
        return " ".join(part for part in (before, *words) if part) + after

    def __str__(self) -> str:
        return f"{self.before} ... {self.after}".strip()

    @property
    def length(self) -> int:
        """Number of words and punctuation marks."""
        return len(self.before.split()) + len(self.after.split())

    def extends(self, other: "Frame") -> bool:
        """Whether this frame is the other with one word more at the end of the run."""
        return (
            self.length == other.length + 1
            and bool(self.before) == bool(other.before)
            and f"{self.before}{self.after}".startswith(f"{other.before}{other.after} ")
        )


def split_words(text: str) -> list[str]:
    """Return the words and punctuation marks of a text, tokenised already or not.

    Example:
        >>> split_words("it's warm, you know.")
        ['it', "'s", 'warm', ',', 'you', 'know', '.']
        >>> split_words("it 's warm , you know .")
        ['it', "'s", 'warm', ',', 'you', 'know', '.']
    """
    return (_MARK_OR_ENDING.sub(r" \1 ", text) if _is_glued(text) else text).split()


def _is_glued(text: str) -> bool:
    """Whether punctuation stands at its word, as people write, and not alone, as corpora do."""
    return bool(_ENDS_GLUED.search(text)) and not _MARK_ALONE.search(text)


def in_one_of(frames: Sequence[Frame], text: str, draw: np.random.Generator) -> str:
    """Return the text in one of the frames, drawn; of a pair, one of the two texts."""
    frame = frames[int(draw.integers(len(frames)))]
    if not is_pair(text):
        return frame(text)
    texts = list(first_and_second(text))
    place = int(draw.integers(2))
    texts[place] = frame(texts[place])
    return text_pair(*texts)


def with_comma(frames: Iterable[Frame], comma: str) -> list[Frame]:
    """Return the frames in front of a text once more, set off by a comma."""
    return [
        Frame(before=f"{frame.before} {comma}")
        for frame in frames
        if frame.spaced and frame.before and not is_mark(frame.before.split()[-1])
    ]


def is_mark(word: str) -> bool:
    """Whether a word is made of punctuation and symbols alone."""
    return all(unicodedata.category(character)[0] in "PS" for character in word)
