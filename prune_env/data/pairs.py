"""Pairs of texts, such as premise and hypothesis, as one text: all that is done to texts serves."""

from collections.abc import Callable, Sequence

from prune_env.errors import DataError

BETWEEN = "\ufdd0"
"""Stands between the two texts of a pair, as a word of its own.

It is one of the codes that Unicode keeps for the inner use of programs: no text holds it.
"""


def text_pair(first: str, second: str) -> str:
    """Return a pair as a `TextDataset` holds it; a tokenizer gets the two texts apart.

    Raises:
        DataError: One of the two is no text, or a pair already.

    Example:
        >>> first_and_second(text_pair("A man sleeps.", "Nobody is awake."))
        ('A man sleeps.', 'Nobody is awake.')
    """
    for text in (first, second):
        # Joined as it is, a missing value would be read as the word "nan" or "None".
        if not isinstance(text, str) or is_pair(text):
            raise DataError(
                "A pair is made of two texts",
                expected="two strings, neither of them a pair",
                actual=f"{type(text).__name__} {text!r:.200}",
                remedy="leave out rows in which a text is missing",
            )
    return f"{first} {BETWEEN} {second}"


def in_each(text: str, change: Callable[[str], str]) -> str:
    """Return a text changed; of a pair, each of the two by itself."""
    return text_pair(*map(change, first_and_second(text))) if is_pair(text) else change(text)


def is_pair(text: str) -> bool:
    """Whether it is a pair."""
    return BETWEEN in text


def first_and_second(text: str) -> tuple[str, str]:
    """Return the two texts of a pair; of a plain text, itself and an empty one."""
    first, _, second = text.partition(BETWEEN)
    return first.strip(), second.strip()


def as_arguments(texts: Sequence[str]) -> tuple[list[str], ...]:
    """Return what a tokenizer takes: a list of texts, or two lists if any of them is a pair."""
    if not any(map(is_pair, texts)):
        return (list(texts),)
    firsts, seconds = zip(*map(first_and_second, texts), strict=True)
    return list(firsts), list(seconds)


def shown(text: str) -> str:
    """Return a text as people read it."""
    return text.replace(BETWEEN, "/")
