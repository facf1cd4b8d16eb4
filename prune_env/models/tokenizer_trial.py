"""A stranger's tokenizer meets texts in a process of its own first, under limits.

One pattern that backtracks exponentially can keep a whole run, or end it with a panic of the Rust
library, and a normaliser can turn one letter into gigabytes. So every tokenizer is first built,
and tries probes, in a child process with limits of time and memory; one whose patterns are not
those of the known families tries every text there before it may see it here. What has passed is
remembered by hash for the life of the process.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import tokenizers

from prune_env.errors import ModelError
from prune_env.models import tokenizer_trial_child
from prune_env.models.tokenizer_steps import KEPT, rewriting
from prune_env.utils.files import sha256_of
from prune_env.utils.limits import (
    TOKENIZER,
    TOKENIZER_MEMORY,
    TOKENIZER_SECONDS,
    TOKENS_PER_BYTE,
)

MEMORY_PER_BYTE = 40
"""A vocabulary takes so many times the room that it takes in its file, with all its indices."""
BUILT_A_SECOND, CUT_A_SECOND = 10_000_000, 200_000
"""Bytes of a tokenizer, and of texts: any honest one is faster, even on an old machine."""
PATIENCE = 3
"""So many times its computing time a child may last, on a machine that is busy."""
LONG = 40
"""Characters in a row that an exponential pattern does not survive."""

KNOWN_PATTERNS = frozenset(
    {
        " {2,}",
        r"\s+",
        r"\s{2,}|[\n\r\t]",
        "(``)|('')",
        r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+"
        r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    }
)
"""Patterns of the families that may be loaded, all of which take linear time."""

_passed: set[str] = set()


def try_file(path: Path) -> None:
    """Build the tokenizer of a tokenizer.json in a child process, and let it meet the probes.

    Raises:
        ModelError: It takes too long or too much memory, breaks, or rewrites what is `KEPT`.
    """
    size = path.stat().st_size
    _once(sha256_of(path), str(path), size, _probes(()), file=str(path))


def try_tokenizer(tokenizer: Any, where: str) -> None:
    """Let a loaded tokenizer meet the probes in a child process.

    Args:
        tokenizer: Of transformers; one without a fast backend is left alone.
        where: The folder, for messages.

    Raises:
        ModelError: It takes too long or too much memory, breaks, or rewrites what is `KEPT`.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        content = backend.to_str()
        probes = _probes(_literals(backend))
        _once(_digest(content, probes), where, len(content), probes, content=content)


def try_texts(tokenizer: Any, texts: Sequence[str]) -> None:
    """Let a tokenizer with patterns that are not known meet texts in a child process.

    Args:
        tokenizer: Of transformers, which has met the probes.
        texts: What it is to see.

    Raises:
        ModelError: It takes too long or too much memory, or breaks; says at which text.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    # A tokenizer has foreign steps if a pattern is not known, or makes texts grow.
    if backend is None or not texts or not any(map(_is_foreign, _steps(backend))):
        return
    content = backend.to_str()
    itself = _digest(content, ())
    digests = {text: _digest(itself, (text,)) for text in texts}
    # Searches ask for the same texts in other blocks, and a child takes longer than its texts.
    new = [text for text, digest in digests.items() if digest not in _passed]
    if new:
        where = str(getattr(tokenizer, "name_or_path", "") or "memory")
        _try(where, len(content), new, content=content)
        _passed.update(digests.values())


def _is_foreign(step: dict[str, Any]) -> bool:
    """Return whether a step has a pattern that is not known, or one that makes texts grow."""
    if step.get("type") != "Replace" and "pattern" not in step:
        return False
    pattern = step.get("pattern")
    pattern = pattern if isinstance(pattern, dict) else {"String": str(pattern)}
    if "Regex" in pattern:
        return pattern["Regex"] not in KNOWN_PATTERNS
    text = str(pattern.get("String", ""))
    return len(str(step.get("content", ""))) > max(len(text), 1)


def _steps(backend: Any) -> Iterator[dict[str, Any]]:
    """Yield every step of a tokenizer's normaliser and of what cuts texts into words."""
    for part in (backend.normalizer, backend.pre_tokenizer):
        stack: list[Any] = [] if part is None else [json.loads(part.__getstate__())]
        while stack:
            value = stack.pop()
            if isinstance(value, dict):
                yield value
                stack.extend(value.values())
            elif isinstance(value, list):
                stack.extend(value)


def _literals(backend: Any) -> tuple[str, ...]:
    """Return what stands in the patterns, and every single letter and digit of it."""
    found = set()
    for step in _steps(backend):
        pattern = step.get("pattern")
        for text in pattern.values() if isinstance(pattern, dict) else ():
            found.add(str(text))
            if text not in KNOWN_PATTERNS:
                found.update(c for c in str(text) if c.isalnum())
    return tuple(sorted(found))


def _probes(literals: Sequence[str]) -> tuple[str, ...]:
    """Return texts that a hostile pattern does not survive, and an honest one does not notice."""
    runs = ("a", " ", "0", "!", "x", "é", "ab", "a ", *literals)
    return (
        "A short sentence, and an unheard-of wörd: qzxj 漢字 🙂.",
        "",
        *literals,
        *(f"{run * LONG}{end}" for run in runs for end in ("!", "\x01")),
        "a" * 2_000,
    )


def _digest(content: str, texts: Sequence[str]) -> str:
    digest = sha256(content.encode("utf-8", "surrogatepass"))
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()


def _once(digest: str, where: str, size: int, texts: Sequence[str], **tokenizer: str) -> None:
    """Try what has this digest, unless it has passed."""
    if digest not in _passed:
        _try(where, size, texts, KEPT, **tokenizer)
        _passed.add(digest)


def _try(
    where: str,
    size: int,
    texts: Sequence[str],
    kept: Sequence[str] = (),
    *,
    file: str | None = None,
    content: str | None = None,
) -> None:
    seconds = TOKENIZER_SECONDS.value
    seconds += size // BUILT_A_SECOND + sum(map(len, texts)) // CUT_A_SECOND
    memory = TOKENIZER_MEMORY.value + MEMORY_PER_BYTE * size
    order = {
        "library": str(Path(tokenizers.__file__).parents[1]),
        "limits": [memory, seconds],
        "file": file,
        "content": content,
        "texts": list(texts),
        "kept": list(kept),
        "ratio": TOKENS_PER_BYTE.value,
    }
    told = _run(json.dumps(order).encode(), PATIENCE * seconds)
    if told and told[-1].startswith("rewrites "):
        raise rewriting(where, *json.loads(told[-1].removeprefix("rewrites ")))
    if told[-1:] != ["done"]:
        raise _broken(where, told, texts)


def _run(order: bytes, seconds: int) -> list[str]:
    """Return the lines that the child wrote before it ended or was ended."""
    # Isolated and without site: nothing but the script and the library is imported.
    command = [sys.executable, "-I", "-S", "-X", "utf8", tokenizer_trial_child.__file__]
    try:
        answer = subprocess.run(
            command, input=order, capture_output=True, timeout=seconds, check=False
        ).stdout
    except subprocess.TimeoutExpired as late:
        answer = late.stdout or b""
    return answer.decode("utf-8", "replace").splitlines()


def _broken(where: str, told: Sequence[str], texts: Sequence[str]) -> ModelError:
    """Return the error for a child that did not end well."""
    if not told:
        return ModelError(
            f"The tokenizer of {where} cannot be tried in a process of its own",
            expected=f"that `{sys.executable}` starts and imports tokenizers",
            remedy="see what keeps the system from starting processes",
        )
    reason = "it takes more time or memory than any honest one"
    expected = (
        f"{TOKENIZER_SECONDS.value} s of computing and "
        f"{TOKENIZER_MEMORY.value:,} bytes of memory are enough for it"
    )
    if raised := told[-1].startswith("error "):
        reason, told = told[-1].removeprefix("error "), told[:-1]
    if told[-1].isdecimal():
        at = f"at the text {texts[int(told[-1])]!r:.60}"
    elif told[-1] == "kept":
        at = "as it normalised plain ASCII"
    else:
        at = "as it was built"
        if raised:
            expected = f"a tokenizer.json that tokenizers {tokenizers.__version__} reads"
    return ModelError(
        f"The tokenizer of {where} cannot be used: it failed {at}",
        expected=expected,
        actual=reason,
        remedy=TOKENIZER,
    )
