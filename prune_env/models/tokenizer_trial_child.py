"""The child process of `models.tokenizer_trial`, which imports nothing of ours.

It is run as a script, by its path. On stdin stands one JSON object: `library` (folder of the
package `tokenizers`), `limits` ([bytes of memory, seconds]), `file` or `content` of the
tokenizer, `texts`, `kept` (texts of which a normaliser may change no letter and no digit), and
`ratio` (tokens, or characters, that a byte of a text may become, beyond `ratio` for the text
itself). On stdout goes `ready`, before each text a line with its number, before what is kept
`kept`, then `done`; an error ends it with one line, `error ...`, and a text that was not kept with
`rewrites [text, what became]`.
"""

import json
import sys


def main() -> None:
    """Do what the module says."""
    order = json.load(sys.stdin)
    sys.path.insert(0, order["library"])
    import tokenizers  # noqa: PLC0415 - only now can it be found

    print("ready", flush=True)
    _limit(*order["limits"])
    try:
        if order["file"] is not None:
            tokenizer = tokenizers.Tokenizer.from_file(order["file"])
        else:
            tokenizer = tokenizers.Tokenizer.from_str(order["content"])
        tokenizer.no_truncation()
        tokenizer.no_padding()
        for row, text in enumerate(order["texts"]):
            sys.stdout.write(f"{row}\n")
            sys.stdout.flush()
            _try(tokenizer, text, order["ratio"])
        print("kept", flush=True)
        rewritten = _rewritten(tokenizer.normalizer, order["kept"])
    except BaseException as error:  # a panic of Rust is no Exception
        print(f"error {type(error).__name__}: {error}"[:500].replace("\n", " "))
        return
    print("done" if rewritten is None else f"rewrites {json.dumps(rewritten)}")


def _limit(memory: int, seconds: int) -> None:
    try:
        import resource  # noqa: PLC0415
    except ImportError:  # on Windows time alone is limited, by the parent
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _try(tokenizer, text, ratio):  # type: ignore[no-untyped-def]
    """Tokenize a text; raise if it grows out of all proportion."""
    most = ratio * (len(text.encode()) + ratio)
    steps = [tokenizer.normalizer.normalize_str] if tokenizer.normalizer is not None else []
    for step in [*steps, lambda text: tokenizer.encode(text).ids]:
        size = len(step(text))
        if size > most:
            raise ValueError(f"{len(text)} characters become {size}")


def _rewritten(normalizer, kept):  # type: ignore[no-untyped-def]
    """Return the first text whose letters and digits change, but for capitals, and what becomes."""
    for text in kept if normalizer is not None else ():
        put = normalizer.normalize_str(text)
        if _letters(put) != _letters(text):
            return text, put[:200]
    return None


def _letters(text):  # type: ignore[no-untyped-def]
    return [c for c in text.lower() if c.isalnum()]


if __name__ == "__main__":
    main()
