"""Parses the command line, runs the verb, and turns every error into one clear message."""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import tyro
from rich.console import Console
from rich.logging import RichHandler

from prune_env.cli.attack import Attack
from prune_env.cli.audit import Audit
from prune_env.cli.benchmark import Benchmark
from prune_env.cli.combine import Combine
from prune_env.cli.demo import Demo
from prune_env.cli.evaluate import Evaluate
from prune_env.cli.inspect import Inspect
from prune_env.cli.list import List
from prune_env.cli.options import printable
from prune_env.cli.purify import Purify
from prune_env.cli.report import Report
from prune_env.cli.train import Train
from prune_env.cli.watch.command import Watch
from prune_env.errors import PruneEnvError, SettingsError
from prune_env.utils import progress
from prune_env.utils.memory import out_of_memory

_VERBS = (
    Demo,
    Attack,
    Purify,
    Train,
    Watch,
    Evaluate,
    Inspect,
    Benchmark,
    Report,
    Audit,
    Combine,
    List,
)


class _Terminated(BaseException):
    """SIGTERM arrived; unwinds like Ctrl-C, so that unfinished folders are removed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status.

    0: done. 1: `inspect` found something suspicious. 2: bad usage or bad input, with one message
    on stderr. 130 and 143: interrupted by Ctrl-C or SIGTERM; nothing half written is left.

    Args:
        arguments: Without the program's name; None takes those of the process.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Their own bars would stand between ours.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    terminal = Console(stderr=True)
    with _speaking_on(terminal):
        try:
            verb: Any = tyro.extras.subcommand_cli_from_dict(
                {each.__name__.lower(): each for each in _VERBS},
                prog="prune-env",
                description="Purify backdoored text transformers by pruning attention heads.",
                args=None if arguments is None else list(arguments),
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
            )
            seed = getattr(verb, "seed", 0)
            if seed < 0:
                raise SettingsError("--seed is out of range", expected=">= 0", actual=seed)
            # Libraries must not reach for the network of a machine that holds an untrusted model.
            if not getattr(verb, "online", False):
                os.environ.setdefault("HF_HUB_OFFLINE", "1")
            status: int | None = verb.run()
        except PruneEnvError as error:
            terminal.print("[bold red]error:[/]", end=" ")
            terminal.print(printable(str(error)), markup=False, highlight=False, soft_wrap=True)
            return 2
        except BrokenPipeError:
            # The reader of our output has gone (as `| head` does); say nothing more to it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        except (MemoryError, OSError, RuntimeError) as error:
            message = _of_the_machine(error)
            if message is None:
                raise
            terminal.print("[bold red]error:[/]", end=" ")
            terminal.print(printable(message), markup=False, highlight=False, soft_wrap=True)
            return 2
        except KeyboardInterrupt:
            terminal.print("Interrupted: nothing half written was left.")
            return 128 + signal.SIGINT
        except _Terminated:
            terminal.print("Terminated: nothing half written was left.")
            return 128 + signal.SIGTERM
    return status or 0


def _of_the_machine(error: MemoryError | OSError | RuntimeError) -> str | None:
    """Return what to tell of an error that the machine made, or None if the program made it."""
    if isinstance(error, OSError):
        # Libraries raise OSErrors of their own, without a number, for things that are no files.
        if error.errno is None:
            return None
        return (
            f"{error.filename or 'A file'} cannot be read or written: {error.strerror}. "
            "Remedy: check free space, path and permissions. Nothing half written is left."
        )
    if out_of_memory(error):
        return (
            "There is not enough memory. Remedy: use a machine with more, or a smaller "
            "--batch-size, --max-length or model. Nothing half written is left."
        )
    return None


@contextmanager
def _speaking_on(terminal: Console) -> Iterator[None]:
    """Send progress bars, log lines and warnings to a terminal; make SIGTERM unwind."""
    logger = logging.getLogger("prune_env")
    handler = RichHandler(console=terminal, show_path=False, show_time=False, markup=False)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    progress.show_on(terminal)
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: logger.warning("%s", message)
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
        progress.show_on(None)
        logger.removeHandler(handler)
        logger.propagate = True


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated
