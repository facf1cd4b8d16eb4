"""A part of a training as a task of Ray: files in, files out, so that it can be done again."""

from dataclasses import dataclass

import torch

from prune_env.agents.train_settings import TrainSettings
from prune_env.agents.training import train
from prune_env.utils.bundle import Bundle, pack, unpack
from prune_env.utils.cluster import ProcessFolder, load_ray, this_node
from prune_env.utils.source import code


@dataclass(frozen=True, eq=False)
class TrainedSlice:
    """What a part of a training gave.

    Attributes:
        node: Machine that did it.
        files: The folder of the training, if it went well.
        error: Why it went wrong, in a line.
        refused: Whether the machine has other code.
    """

    node: str
    files: Bundle | None = None
    error: str = ""
    refused: bool = False


def train_slice(
    settings: TrainSettings, files: Bundle | None, driver: str, pause_s: float, threads: int
) -> TrainedSlice:
    """Train for a while, from the files of the part before to those of the next.

    Args:
        settings: What to train, and how.
        files: The folder of the training so far; None begins it.
        driver: Code that the driver runs.
        pause_s: Seconds of learning after which the agent is saved and this part ends.
        threads: Threads of torch.
    """
    node = this_node(load_ray())
    if driver != code():
        return TrainedSlice(node, error=code(), refused=True)
    torch.set_num_threads(threads)
    scratch = ProcessFolder()
    try:
        folder = scratch.folder / "run"
        if files is not None:
            unpack(files, folder)
        train(settings, folder, resume=files is not None, pause_s=pause_s)
        return TrainedSlice(node, pack(folder))
    except Exception as error:  # a trial that fails is a result, and the others go on
        return TrainedSlice(node, error=f"{type(error).__name__}: {error}")
    finally:
        scratch.close()
