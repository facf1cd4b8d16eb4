"""Parses the command line, runs the verb, and turns every error into one clear message."""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from importlib.metadata import version
from io import StringIO
from itertools import takewhile
from typing import Any

from rich.console import Console

from prune_env.cli.attack import Attack
from prune_env.cli.audit import Audit
from prune_env.cli.benchmark import Benchmark
from prune_env.cli.combine import Combine
from prune_env.cli.demo import Demo
from prune_env.cli.evaluate import Evaluate
from prune_env.cli.help import parse, print_completion, print_first_screen
from prune_env.cli.inspect import Inspect
from prune_env.cli.list import List
from prune_env.cli.options import MachineOptions
from prune_env.cli.purify import Purify
from prune_env.cli.record import Record
from prune_env.cli.report import Report
from prune_env.cli.score import Score
from prune_env.cli.terminal import fit_surroundings, speaking_on, tell_error
from prune_env.cli.train import Train
from prune_env.cli.watch.command import Watch
from prune_env.errors import SettingsError, UnknownNameError
from prune_env.settings import check_seed

GROUPS: dict[str, tuple[type, ...]] = {
    "a model": (Purify, Evaluate, Inspect, Watch),
    "environment and agents": (Train, Score, List),
    "research": (Demo, Attack, Benchmark, Report, Audit, Combine, Record),
}
"""Every verb, by the group in which the help shows it."""

QUICK = (Inspect, List, Report, Watch)
"""Verbs that need no torch to begin with."""

GO_ON = (Audit, Benchmark, Record, Score)
"""Verbs that keep in their output what is done."""

_VERBS = tuple(verb for group in GROUPS.values() for verb in group)

NAMES = "--label-names"
"""The option that takes a list."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status.

    0: done. 1: `inspect` found something suspicious. 2: bad usage or bad input, with one message
    on stderr; or no cell of a benchmark is done. 130 and 143: interrupted by Ctrl-C or SIGTERM;
    nothing half written is left.

    `--version` prints the version, `--completion SHELL` a script for a shell; `--debug`, anywhere,
    tells more and shows where an error comes from.

    Args:
        arguments: Without the program's name; None takes those of the process.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Their own bars would stand between ours.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    fit_surroundings()
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    terminal = Console(stderr=True, emoji=False)  # `:x:` in a path is no picture
    with speaking_on(terminal, debug=debug) as signals:
        verb = None
        try:
            verb = _asked(given)
            if isinstance(verb, int):
                return verb
            _load_libraries(verb, terminal)
            getattr(verb, "machine", MachineOptions()).set_up()
            status: int | None = verb.run()
            return status or 0
        except BrokenPipeError:
            # The reader of our output has gone (as `| head` does); say nothing more to it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        except (SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # a panic of the Rust libraries is no Exception
            if signals:  # what unwinds, or what a library made of it
                return _stopped(signals[0], terminal, verb)
            if isinstance(error, KeyboardInterrupt):
                return _stopped(signal.SIGINT, terminal, verb)
            tell_error(terminal, error, debug=debug)
            return 2


def _stopped(number: int, terminal: Console, verb: Any) -> int:
    """Return the exit status of a program that a signal ended."""
    word = "Interrupted" if number == signal.SIGINT else "Terminated"
    terminal.print(f"{word}: nothing half written was left.{_way_on(verb)}", soft_wrap=True)
    return 128 + number


def _way_on(verb: Any) -> str:
    """Return what is said of how a stopped program goes on; nothing where it does not."""
    if isinstance(verb, Train):
        return " The same command with --resume goes on." if verb.begun() else ""
    # The folder of a benchmark has a name of its own; a score is kept where it is told to.
    goes_on = isinstance(verb, GO_ON) and (isinstance(verb, Benchmark) or verb.out is not None)
    return " The same command goes on." if goes_on else ""


def _asked(arguments: Sequence[str]) -> Any:
    """Return the verb with its options; or the exit status, where all that was asked is printed."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print_first_screen(GROUPS)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"prune-env {version('prune-env')}")
        return 0
    if arguments[0] == "--completion":
        print_completion(_VERBS, _shell(arguments[1:]))
    verb = _parsed(arguments)
    for seed in (getattr(verb, "seed", 0), *getattr(verb, "seeds", ())):
        check_seed(seed, "--seed")
    return verb


def _load_libraries(verb: Any, terminal: Console) -> None:
    """Load what takes seconds on a cold machine in sight, and keep it off the network."""
    # Libraries must not reach for the network of a machine that holds an untrusted model.
    if not getattr(verb, "online", False):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if terminal.is_terminal and not isinstance(verb, QUICK):
        with terminal.status("Loading torch and transformers ..."):
            import_module("transformers")
            import_module("torch")


def _parsed(arguments: Sequence[str]) -> Any:
    """Return the verb with its options; wrong usage ends the program, with status 2."""
    verbs = {each.__name__.lower(): each for each in _VERBS}
    name, *options = arguments
    if name not in verbs:
        raise UnknownNameError("verb", name, verbs, "prune-env --help")
    try:
        return parse(verbs[name], options)
    except SystemExit as end:
        if end.code == 2 and (taken := _swallowed(verbs[name], options)):
            print(
                f"{NAMES} takes every word up to the next option: {' '.join(map(ascii, taken))}. "
                "Put what is no name of a class before it.",
                file=sys.stderr,
            )
        raise


def _swallowed(verb: type, options: Sequence[str]) -> list[str]:
    """Return the words that `NAMES` took, if the last of them, put before it, mends the usage."""
    if NAMES not in options:
        return []
    start = options.index(NAMES)
    taken = list(takewhile(_is_word, options[start + 1 :]))
    end = start + len(taken)
    mended = [*options[:start], *taken[-1:], *options[start:end], *options[end + 1 :]]
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            parse(verb, mended)
    except SystemExit:
        return []
    return taken


def _shell(arguments: Sequence[str]) -> str:
    shells = ("bash", "zsh")
    if len(arguments) != 1 or arguments[0] not in shells:
        raise SettingsError(
            "--completion takes the name of a shell",
            expected=f"one of {', '.join(shells)}",
            actual=" ".join(arguments) or "nothing",
        )
    return arguments[0]


def _is_word(argument: str) -> bool:
    return not argument.startswith("--")
