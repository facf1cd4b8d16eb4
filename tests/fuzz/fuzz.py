"""Fuzz the parsers of hostile files: `make fuzz`, or `python -m tests.fuzz.fuzz safetensors`.

With atheris installed (`pip install atheris`), its coverage guides the mutations; without it they
are blind, which is still far better than nothing on formats as small as these.
"""

import hashlib
import random
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

try:
    import atheris
except ImportError:
    atheris = None
# Coverage is counted in the package alone: all of torch would take minutes before the first input.
with atheris.instrument_imports(include=["prune_env"]) if atheris else nullcontext():
    from prune_env.errors import PruneEnvError
    from tests.fuzz.targets import Target, make_target


@dataclass(frozen=True)
class Options:
    """What is fuzzed.

    Attributes:
        target: A name in `tests.fuzz.targets.TARGETS`, or `config-TYPE`, such as config-vit.
        seconds: For how long.
        seed: Of the mutations.
        crashes: Where an input that broke a parser is kept.
    """

    target: Annotated[str, tyro.conf.Positional]
    seconds: int = 60
    seed: int = 0
    crashes: Path = Path("runs/fuzz")


def main(options: Options) -> None:
    """Fuzz one parser; an error that is not the package's ends the run with a trace."""
    target = make_target(options.target)
    with tempfile.TemporaryDirectory() as name:
        if atheris:
            guided(target, options, Path(name))
        else:
            print(f"{options.target}: {blind(target, options, Path(name))} inputs, none broke it")


def blind(target: Target, options: Options, folder: Path) -> int:
    """Feed mutated seeds until the time is over; return how many."""
    source, count = random.Random(options.seed), 0
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        attempt(target, options, folder, mutated(source.choice(target.seeds), source))
        count += 1
    return count


def guided(target: Target, options: Options, folder: Path) -> None:
    """Let libFuzzer mutate by coverage; it ends the process."""
    corpus = folder / "corpus"
    corpus.mkdir()
    for index, seed in enumerate(target.seeds):
        (corpus / str(index)).write_bytes(seed)
    place = folder / "read"
    place.mkdir()
    limits = [f"-max_total_time={options.seconds}", f"-seed={options.seed + 1}", "-max_len=8192"]
    atheris.Setup(
        [sys.argv[0], *limits, str(corpus)], lambda data: attempt(target, options, place, data)
    )
    atheris.Fuzz()


def attempt(target: Target, options: Options, folder: Path, data: bytes) -> None:
    """Feed one input; keep it if it breaks the parser."""
    try:
        target.run(folder, data)
    except PruneEnvError:
        pass
    except BaseException:
        options.crashes.mkdir(parents=True, exist_ok=True)
        name = f"{options.target}-{hashlib.sha256(data).hexdigest()[:12]}"
        (options.crashes / name).write_bytes(data)
        print(f"The input is kept as {options.crashes / name}", file=sys.stderr)
        raise


def mutated(data: bytes, source: random.Random) -> bytes:
    """Return `data` after one to eight flips, cuts, repetitions and insertions."""
    out = bytearray(data)
    for _ in range(source.randint(1, 8)):
        start = source.randint(0, len(out))
        stop = min(len(out), start + source.randint(0, 16))
        part = out[start:stop]
        out[start:stop] = source.choice(
            (
                b"",
                part * source.randint(2, 5),
                source.randbytes(len(part)),
                bytes(value ^ (1 << source.randint(0, 7)) for value in part),
                source.choice(TOKENS) + part,
            )
        )
    return bytes(out)


TOKENS = (
    *(
        b'"',
        b"{",
        b"[",
        b"]",
        b"}",
        b",",
        b":",
        b"\t",
        b"\n",
        b"\r",
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
    ),
    *(b"null", b"true", b"-1", b"1e999", b"NaN", b"9" * 5000, b'"\\ud800"', b"[" * 2000),
)

if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
