"""The files of a tokenizer, judged before a library builds anything from them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from prune_env.errors import ModelError
from prune_env.models.added_tokens import find_added
from prune_env.models.header import damaged
from prune_env.models.pieces import find_piece_problems
from prune_env.models.tokenizer_steps import find_step_problems
from prune_env.utils.limits import (
    MERGES,
    REPLACEMENT,
    SENTENCEPIECE_BYTES,
    TOKENIZER,
    TOKENIZER_BYTES,
    TOKENIZER_ENTRIES,
    VOCABULARY,
    WORD,
    Limit,
)
from prune_env.utils.reading import parse_json, read_bounded

STEPS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
"""What tokenizer.json holds besides its model and added tokens: steps that change a text."""
WHOLE_WORDS = ("WordPiece", "WordLevel")
"""Models that fail on an unknown word if their vocabulary lacks the token for one."""


def find_tokenizer_problems(folder: Path, rows: object = None) -> Iterator[ModelError]:
    """Yield what is wrong with the files of a tokenizer; none of them need be there.

    Args:
        folder: The model's folder.
        rows: `vocab_size` in config.json: how many tokens the model knows.
    """
    for name, find in CHECKS.items():
        if (folder / name).is_file():
            try:
                yield from find(folder / name, rows if type(rows) is int else None)
            except ModelError as problem:
                yield problem


def _check_lines(path: Path, limit: Limit) -> Iterator[ModelError]:
    """Judge a file that holds one entry a line."""
    content = _bytes(path, TOKENIZER_BYTES)
    lines = content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")
    if lines > limit.value:
        yield limit.exceeded(lines, f"{path} holds too many {limit.unit}", ModelError)


def _check_words(path: Path, rows: int | None) -> Iterator[ModelError]:
    yield from _check_lines(path, VOCABULARY)


def _check_merges(path: Path, rows: int | None) -> Iterator[ModelError]:
    yield from _check_lines(path, MERGES)


def _check_pieces(path: Path, rows: int | None) -> Iterator[ModelError]:
    yield from find_piece_problems(path, _bytes(path, SENTENCEPIECE_BYTES))


def _check_vocabulary(path: Path, rows: int | None) -> Iterator[ModelError]:
    content = _read(path)
    yield from _counted(path, content, VOCABULARY)
    yield from _numbered_twice(path, content)


def _check_added(path: Path, rows: int | None) -> Iterator[ModelError]:
    content = _read(path)
    if not isinstance(content, dict):
        raise damaged(path, "a JSON object of tokens and their numbers", type(content).__name__)
    yield from find_added(path, content, content.values())


def _check_tokenizer(path: Path, rows: int | None) -> Iterator[ModelError]:
    """Judge tokenizer.json: its vocabulary, added tokens and steps."""
    content = _read(path)
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise damaged(path, "a JSON object with a model", type(content).__name__)
    yield from _check_model(path, content["model"], rows)
    added = content.get("added_tokens")
    if isinstance(added, list):
        ids = [token.get("id", 0) if isinstance(token, dict) else 0 for token in added]
        yield from find_added(path, added, ids)
    for name in STEPS:
        yield from find_step_problems(path, name, content.get(name))


def _check_model(path: Path, model: dict[str, Any], rows: int | None) -> Iterator[ModelError]:
    vocabulary = model.get("vocab")
    yield from _counted(path, vocabulary, VOCABULARY)
    yield from _numbered_twice(path, vocabulary)
    if rows is not None and isinstance(vocabulary, dict | list) and len(vocabulary) > rows:
        yield ModelError(
            f"The tokenizer in {path} is not the model's",
            expected=f"tokens 0 to {rows - 1}",
            actual=f"{len(vocabulary):,} tokens",
            remedy="put the model's own tokenizer into the folder",
        )
    yield from _counted(path, model.get("merges"), MERGES)
    longest = model.get("max_input_chars_per_word")
    if isinstance(longest, int) and longest > WORD.value:
        yield WORD.exceeded(longest, f"{path} cuts words up to a great length", ModelError)
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        text = model.get(key)
        if isinstance(text, str) and len(text) > REPLACEMENT.value:
            yield REPLACEMENT.exceeded(len(text), f"{path} has a long {key}", ModelError)
    unknown = model.get("unk_token")
    if (
        model.get("type") in WHOLE_WORDS
        and isinstance(vocabulary, dict)
        and (not isinstance(unknown, str) or unknown not in vocabulary)
    ):
        yield ModelError(
            f"The vocabulary in {path} lacks the token for unknown words",
            expected=f"{unknown!r:.60} among its {len(vocabulary):,} tokens",
            remedy=TOKENIZER,
        )


def _numbered_twice(path: Path, vocabulary: Any) -> Iterator[ModelError]:
    """Judge the numbers of tokens: one that reads as another may be a trigger in the tokenizer."""
    if not isinstance(vocabulary, dict):
        return
    first: dict[str, str] = {}
    for token, number in vocabulary.items():
        other = first.setdefault(str(number), token)
        if other != token:
            yield ModelError(
                f"Two tokens have one number in {path}",
                expected="a number each",
                actual=f"{other!r:.60} and {token!r:.60}, both {number!r:.20}",
                remedy=TOKENIZER,
            )
            return


def _counted(path: Path, value: Any, limit: Limit) -> Iterator[ModelError]:
    if isinstance(value, dict | list) and len(value) > limit.value:
        yield limit.exceeded(len(value), f"{path} holds too many {limit.unit}", ModelError)


def _bytes(path: Path, limit: Limit) -> bytes:
    try:
        return read_bounded(path, limit, ModelError)
    except OSError as error:
        raise damaged(path, "a file that can be read", error) from None


def _read(path: Path) -> Any:
    try:
        content = read_bounded(path, TOKENIZER_BYTES, ModelError)
        return parse_json(content, path, TOKENIZER_ENTRIES, ModelError)
    except ModelError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, "JSON", error) from None


PIECES = ("spiece.model", "spm.model", "tokenizer.model", "sentencepiece.bpe.model")
"""Vocabularies of SentencePiece, which transformers converts where its package is there."""

CHECKS: dict[str, Callable[[Path, int | None], Iterator[ModelError]]] = {
    "tokenizer.json": _check_tokenizer,
    "vocab.json": _check_vocabulary,
    "added_tokens.json": _check_added,
    "vocab.txt": _check_words,
    "merges.txt": _check_merges,
    **dict.fromkeys(PIECES, _check_pieces),
}
