"""Agents on disk: numbers in safetensors, everything else in JSON, and nothing that can run code.

A checkpoint is a pair of files in the agent's folder, named by the steps taken:
`000000012000.safetensors` and `000000012000.json`. The JSON names the SHA-256 of the other file and
of its own content, and is written last, so a checkpoint exists from the moment when it is whole,
and a damaged one is told from a whole one. The newest two stay.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from prune_env.errors import StateError
from prune_env.utils.counts import count_of
from prune_env.utils.files import read_json, sha256_of, write_bytes, write_json
from prune_env.utils.limits import TENSOR_BYTES
from prune_env.utils.reading import read_bounded

log = logging.getLogger(__name__)

FORMAT = 2
KEPT = 2
SAVE_SECONDS = 60.0
_NAME = re.compile(r"\d{12}\.json")

Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """What a folder holds of an agent.

    Attributes:
        algorithm: Name of the agent in `POLICIES`, such as `"epsilon-greedy"`.
        step: Environment steps taken.
        spec: Plain JSON values: settings, random states, counters.
        tensors: Weights, optimiser and memory by name.
    """

    algorithm: str
    step: int
    spec: dict[str, Any]
    tensors: Tensors

    @property
    def metrics(self) -> list[str]:
        """Names of the importance metrics that the agent reads.

        Raises:
            TypeError: The specification holds no list of names.
        """
        names = self.spec["metrics"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"metrics: {names!r:.80}")
        return names

    @property
    def packed(self) -> bytes:
        """The tensors as the bytes of a safetensors file."""
        return save({name: np.array(value, order="C") for name, value in self.tensors.items()})

    @property
    def tensors_sha256(self) -> str:
        """SHA-256 of `packed`."""
        return sha256(self.packed).hexdigest()


class SaveTimes:
    """Says when to save: after so many steps, or after a minute where steps are slow.

    Saving changes nothing in the training, so the clock may decide.

    Args:
        every: Steps between two saves.
        steps: Steps taken so far.
        clock: Seconds.
    """

    def __init__(self, every: int, steps: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._every = every
        self._clock = clock
        self._last = steps, clock()

    def __call__(self, steps: int) -> bool:
        """Return whether to save now, which the caller then does."""
        last_steps, last_time = self._last
        now = self._clock()
        due = steps >= last_steps + self._every or now >= last_time + SAVE_SECONDS
        if due:
            self._last = steps, now
        return due


def write_checkpoint(folder: str | Path, checkpoint: Checkpoint) -> None:
    """Add a checkpoint and drop all but the newest two.

    A fault at any moment leaves the older ones as they were.

    Args:
        folder: The agent's own folder, made if missing.
        checkpoint: What to write.

    Raises:
        StateError: The disk gave back other bytes than were written.
        OSError: The disk is full or read-only.
    """
    folder = Path(folder)
    path = folder / f"{checkpoint.step:012d}.safetensors"
    data = checkpoint.packed
    digest = sha256(data).hexdigest()
    write_bytes(path, data)
    if sha256_of(path) != digest:
        raise StateError(
            f"{path} was not stored as written", remedy="check the disk; older checkpoints are kept"
        )
    head = {
        "format": FORMAT,
        "algorithm": checkpoint.algorithm,
        "step": checkpoint.step,
        "tensors_sha256": digest,
        "spec": checkpoint.spec,
    }
    write_json(path.with_suffix(".json"), {**head, "spec_sha256": _sha256_of_json(head)})
    for old in _newest_first(folder)[KEPT:]:
        if old.stem == path.stem:  # beside one of later steps: of a stretch that was lost
            continue
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def require_older(folder: Path, step: int) -> None:
    """Raise if the newest whole checkpoint of a folder is of a later step: it would be read.

    Raises:
        StateError: It is; the folder holds another training.
    """
    for path in _newest_first(folder):
        if int(path.stem) <= step:
            return
        try:
            _read(path)
        except StateError:  # a damaged one is walked past
            continue
        raise StateError(
            f"{folder} holds another training",
            expected=f"checkpoints of up to {count_of(step, 'step')}",
            actual=f"one of {count_of(int(path.stem), 'step')}",
            remedy="save into another folder",
        )


def read_checkpoint(folder: str | Path) -> Checkpoint:
    """Return the newest whole checkpoint of a folder, walking past damaged ones.

    Raises:
        StateError: There is none; the message says what is wrong with each.
    """
    folder = Path(folder)
    if folder.is_file():
        raise StateError(
            f"{folder} is not an agent's folder",
            expected="a folder with safetensors and JSON; archives that hold pickled fields, such"
            " as the zip files of Stable-Baselines3, are never opened",
            remedy="train the agent with `prune-env train`",
        )
    faults: list[StateError] = []
    for path in _newest_first(folder):
        try:
            found = _read(path)
        except StateError as error:
            faults.append(error)
            continue
        for fault in faults:
            log.warning("An older checkpoint, %s, is used: %s", path.name, fault)
        return found
    saved = folder / "agent"
    usual = (
        f"this run has tested nothing so far: give {saved}, the agent as it was saved"
        if _newest_first(saved)
        else "give what `prune-env train` wrote: the folder of a run, or `best` or `agent` in it"
    )
    remedies = dict.fromkeys([*(fault.remedy for fault in faults if fault.remedy), usual])
    raise StateError(
        f"No usable agent in {folder}",
        expected="a checkpoint: <steps>.json with <steps>.safetensors",
        actual="; ".join(fault.without_remedy.rstrip(".") for fault in faults) or "no such file",
        remedy="; or ".join(remedies),
    )


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)


def _read(path: Path) -> Checkpoint:
    head = read_json(path)
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise StateError(
            f"{path.name} has another format",
            expected=FORMAT,
            actual=head.get("format") if isinstance(head, dict) else type(head).__name__,
            remedy="load it with the version of prune-env that wrote it",
        )
    if head.pop("spec_sha256", None) != _sha256_of_json(head):
        raise StateError(
            f"{path.name} is damaged, or was edited by hand", remedy="use an older checkpoint"
        )
    tensors = path.with_suffix(".safetensors")
    data = read_bounded(tensors, TENSOR_BYTES, StateError) if tensors.is_file() else b""
    if sha256(data).hexdigest() != head.get("tensors_sha256"):
        raise StateError(f"{tensors.name} is damaged or missing", remedy="use an older checkpoint")
    kinds = {"algorithm": str, "step": int, "spec": dict}
    wrong = [name for name, kind in kinds.items() if type(head.get(name)) is not kind]
    if wrong:
        raise StateError(
            f"{path.name} is not a checkpoint",
            expected=", ".join(f"{name}: {kind.__name__}" for name, kind in kinds.items()),
            actual=f"another {' and '.join(wrong)}",
            remedy="use an older checkpoint",
        )
    try:
        return Checkpoint(head["algorithm"], head["step"], head["spec"], load(data))
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise StateError(f"{path.name} is not a checkpoint", actual=repr(error)) from None


def _sha256_of_json(value: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain values, however a file lays them out."""
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
