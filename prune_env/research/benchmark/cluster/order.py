"""What the driver of a grid and its tasks tell each other."""

from dataclasses import dataclass
from typing import Any, Literal

from prune_env.data.dataset import Splits
from prune_env.research.attacks.own_files import OwnAttack
from prune_env.research.benchmark.outcome import FinishedCell
from prune_env.utils.bundle import Bundle

Part = Literal["attack", "fine-tuned", "mask"]
"""What several cells share, and a task of its own makes."""

ENCODER, TEXTS = "encoder", "sst2"
"""Folders of bundles: the clean encoder, and the texts of published attacks."""


@dataclass(frozen=True, eq=False)
class Order:
    """What every task of a run is given.

    Attributes:
        run: Names the run: of another one a process keeps nothing.
        code: What the driver runs; a task refuses to be run by other code.
        clean: The data set.
        identity: SHA-256 of data, model and files of attacks.
        own: Attacks from files of the user's own.
        threads: Threads of torch.
        plugins: Modules that register further policies.
        keep_models: Send the model of every cell back.
        begun: An actor `Begun`.
    """

    run: str
    code: str
    clean: Splits
    identity: dict[str, str]
    own: tuple[OwnAttack, ...]
    threads: int
    plugins: tuple[str, ...]
    keep_models: bool
    begun: Any


@dataclass(frozen=True)
class TaskFailure:
    """Why a task made nothing.

    Attributes:
        error: In a line.
        details: The traceback, if there is one.
        node: Where it ran.
        refused: Whether that machine has other code.
    """

    error: str
    details: str
    node: str
    refused: bool = False


@dataclass(frozen=True, eq=False)
class CellReply:
    """What the task of a cell gives.

    Attributes:
        done: The outcome.
        model: The model that was measured, if it is to be kept.
    """

    done: FinishedCell
    model: Bundle | None = None
