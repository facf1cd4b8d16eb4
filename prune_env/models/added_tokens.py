"""Tokens that are added to a tokenizer's vocabulary, judged before a library adds them."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from prune_env.errors import ModelError
from prune_env.models.header import damaged
from prune_env.utils.limits import ADDED_CHARACTERS, ADDED_TOKENS, VOCABULARY, WORD

LISTS = ("additional_special_tokens", "extra_special_tokens")
"""Keys of a configuration that hold tokens: in a list, or by the name of their role."""


def find_added(
    path: Path, tokens: Collection[Any], ids: Iterable[Any] = ()
) -> Iterator[ModelError]:
    """Yield what is wrong with tokens that a file adds.

    Args:
        path: The file.
        tokens: Texts, or objects with the text as `content`.
        ids: Their numbers, as far as the file tells them: a library makes room up to the greatest.
    """
    if len(tokens) > ADDED_TOKENS.value:
        yield ADDED_TOKENS.exceeded(len(tokens), f"{path} adds too many tokens", ModelError)
        return
    characters = 0
    for token in tokens:
        text = token.get("content") if isinstance(token, dict) else token
        if not isinstance(text, str) or len(text) > WORD.value:
            yield damaged(path, f"added tokens of up to {WORD.value} characters", f"{token!r:.80}")
            return
        characters += len(text)
    if characters > ADDED_CHARACTERS.value:
        yield ADDED_CHARACTERS.exceeded(characters, f"{path} adds long tokens", ModelError)
    greatest = VOCABULARY.value + ADDED_TOKENS.value
    for number in ids:
        told = str(number)
        if not (told.isascii() and told.isdecimal()) or len(told) > 9 or int(told) >= greatest:
            yield damaged(path, f"numbers of tokens from 0 to {greatest - 1:,}", f"{told:.40}")
            return


def find_added_in(path: Path, config: dict[str, Any]) -> Iterator[ModelError]:
    """Yield what is wrong with the tokens that a tokenizer's configuration adds."""
    decoder = config.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        yield from find_added(path, decoder.values(), decoder)
    for key in LISTS:
        tokens = config.get(key)
        if isinstance(tokens, dict):
            tokens = list(tokens.values())
        if isinstance(tokens, list):
            yield from find_added(path, tokens)
