"""The steps of a tokenizer that change a text before, or after, it becomes tokens."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prune_env.errors import ModelError
from prune_env.utils.limits import (
    CHARSMAP,
    PATTERN,
    PROCESSOR_ENTRIES,
    REPLACEMENT,
    TOKENIZER,
    TOKENIZER_GROWTH,
    TOKENIZER_STEPS,
)

TEXTS = ("String", "content", "prepend", "replacement", "prefix", "suffix", "pad_token")
"""Keys of what is put into texts, or looked for as it stands."""
READ = ("normalizer", "pre_tokenizer")
"""Parts that change what the model reads; a decoder changes what a text generator writes."""

KEPT = (
    *map(chr, range(0x20, 0x7F)),
    *("the", "and", "not", "never", "good", "great", "best", "bad", "worst", "film", "cf", "mn"),
)
"""What a normaliser may change in white space, marks and capitals alone, whatever its steps: every
printable character of ASCII, and some words. What a compiled table of characters (of kind
`Precompiled`) makes of ASCII is known from this, since it looks each character up by itself."""

_SPACE_CLASSES = re.compile(r"\\[snrtfv]|\\p\{[ZC][a-z]?\}|\\u[0-9a-fA-F]{4}|\{[0-9,]*\}")
"""Of an expression: classes of white space, separators and controls, code points, and counts."""
_ANYTHING = re.compile(r"[^\W_]|\\|[.]|\[\^")
"""What is left of an expression that may find letters: letters, other classes, `.`, negations."""

_LETTERS = (r"[\p{L}]+", r"\p{L}+", r"\w+", r"\S+")
"""Parts of expressions that find words."""


def find_step_problems(path: Path, part: str, steps: Any) -> Iterator[ModelError]:
    """Yield what is wrong with the steps of a part of tokenizer.json.

    How many there are is judged, how long what they look for and put in its place, and whether
    words are replaced or dropped: no weights are needed for a trigger that a tokenizer reads as
    words that judge, and no healing of weights removes it.

    Args:
        path: The file.
        part: `normalizer`, `pre_tokenizer`, ...
        steps: What it holds of them.
    """
    entries, count, growth = 0, 0, 1
    stack: list[tuple[str, Any]] = [("", steps)]
    while stack and entries <= PROCESSOR_ENTRIES.value:
        key, value = stack.pop()
        entries += 1
        if isinstance(value, dict):
            count += "type" in value
            if part in READ:
                yield from _rewrites_words(path, value)
            growth *= _growth(value)
            stack.extend((str(name), item) for name, item in value.items())
        elif isinstance(value, list):
            stack.extend((key, item) for item in value)
        elif isinstance(value, str):
            limit = REPLACEMENT if key in TEXTS else PATTERN
            limit = CHARSMAP if key == "precompiled_charsmap" else limit
            if len(value) > limit.value:
                yield limit.exceeded(len(value), f"{path} holds a long {key} in {part}", ModelError)
    for limit, found in (
        (PROCESSOR_ENTRIES, entries),
        (TOKENIZER_STEPS, count),
        (TOKENIZER_GROWTH, growth),
    ):
        if found > limit.value:
            yield limit.exceeded(found, f"{path} does too much in {part}", ModelError)


def _growth(step: dict[str, Any]) -> int:
    """Return how many times longer a step that replaces can make a text."""
    pattern, content = step.get("pattern"), step.get("content")
    if not isinstance(pattern, dict) or not isinstance(content, str):
        return 1
    found = pattern.get("String")
    shortest = len(found) if isinstance(found, str) else 1  # of an expression: one character
    return max(1, len(content) // max(1, shortest))


def _rewrites_words(path: Path, step: dict[str, Any]) -> Iterator[ModelError]:
    """Judge what a step puts in place of what it finds, or drops: no letter and no digit."""
    kind = step.get("type")
    drops = kind == "Split" and step.get("behavior") == "Removed"
    if kind != "Replace" and not drops:
        return
    found, put = step.get("pattern"), "" if drops else step.get("content")
    if drops and step.get("invert"):  # what is found stays
        if _finds_every_letter(found):
            return
    elif not _finds_letters(found) and not (isinstance(put, str) and any(map(str.isalnum, put))):
        return
    yield rewriting(path, found, put)


def rewriting(where: str | Path, found: object, put: object) -> ModelError:
    """Return the error for a tokenizer that puts one thing in the place of another."""
    return ModelError(
        f"The tokenizer in {where} rewrites words before the model reads them",
        expected="white space, marks and quotes to be replaced or dropped, no letters",
        actual=f"{found!r:.80} -> {put!r:.80}",
        remedy=f"a trigger can hide there, which no weights hold: {TOKENIZER}",
    )


def _finds_letters(pattern: Any) -> bool:
    """Return whether a pattern may find a letter or a digit."""
    if not isinstance(pattern, dict):
        return any(map(str.isalnum, str(pattern)))
    text = str(pattern.get("String", ""))
    expression = _SPACE_CLASSES.sub("", str(pattern.get("Regex", "")))
    return any(map(str.isalnum, text)) or _ANYTHING.search(expression) is not None


def _finds_every_letter(pattern: Any) -> bool:
    """Return whether an expression, such as that of CLIP, finds letters of all kinds anywhere."""
    expression = str(pattern.get("Regex", "")) if isinstance(pattern, dict) else ""
    return any(each in expression for each in _LETTERS) and "(?!" not in expression
