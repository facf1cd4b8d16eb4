"""Parses the command line, runs the verb, and turns every error into one clear message."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.logging import RichHandler

from prune_env import progress
from prune_env.cli.attack import Attack
from prune_env.cli.demo import Demo
from prune_env.cli.evaluate import Evaluate
from prune_env.cli.list import List
from prune_env.cli.purify import Purify
from prune_env.errors import PruneEnvError

_VERBS = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Attack, tyro.conf.subcommand("attack")]
    | Annotated[Purify, tyro.conf.subcommand("purify")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[List, tyro.conf.subcommand("list")]
)


class _Terminated(BaseException):
    """SIGTERM arrived; unwinds like Ctrl-C, so that unfinished folders are removed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status.

    0: done. 2: bad usage or bad input, with one message on stderr. 130 and 143: interrupted by
    Ctrl-C or SIGTERM; nothing half written is left.

    Args:
        arguments: Without the program's name; None takes those of the process.
    """
    # Libraries must not reach for the network of a machine that holds an untrusted model.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    verb: Any = tyro.cli(
        _VERBS,  # type: ignore[arg-type]  # a union of types is what tyro takes for subcommands
        prog="prune-env",
        description="Purify backdoored text transformers by pruning attention heads.",
        args=None if arguments is None else list(arguments),
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
    )
    errors = Console(stderr=True)
    handler = RichHandler(console=errors, show_path=False, show_time=False, markup=False)
    logger = logging.getLogger("prune_env")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    progress.show_on(errors)
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        verb.run()
    except PruneEnvError as error:
        errors.print("[bold red]error:[/]", end=" ")
        errors.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        errors.print("Interrupted: nothing half written was left.")
        return 128 + signal.SIGINT
    except _Terminated:
        errors.print("Terminated: nothing half written was left.")
        return 128 + signal.SIGTERM
    except BrokenPipeError:
        # The reader of our output has gone (as `| head` does); say nothing more to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    finally:
        signal.signal(signal.SIGTERM, before)
        progress.show_on(None)
        logger.removeHandler(handler)
    return 0


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated
