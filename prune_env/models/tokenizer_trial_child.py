"""The child process of `models.tokenizer_trial`, which imports nothing of ours.

It is run as a script, by its path. On stdin stands one JSON object: `library` (folder of the
package `tokenizers`), `limits` ([bytes of memory, seconds]), `file` or `content` of the
tokenizer, `texts`, and `ratio` (tokens, or characters, that a byte of a text may become, beyond
`ratio` for the text itself). On stdout goes `ready`, before each text a line with its number, then
`done`; an error ends it with one line, `error ...`.
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
    except BaseException as error:  # a panic of Rust is no Exception
        print(f"error {type(error).__name__}: {error}"[:500].replace("\n", " "))
        return
    print("done")


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


if __name__ == "__main__":
    main()
