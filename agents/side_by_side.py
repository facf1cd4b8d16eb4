"""Trainings one after the other, or side by side on Ray; whatever dies, they go on.

On Ray a training is a chain of tasks of some minutes each. Each begins from the files that the one
before left, so a task whose process or machine died is done again from there, and to the same end.
The driver alone writes the folders of the trials.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prune_env.agents.interrupt import Interrupt
from prune_env.agents.run_folder import (
    SETTINGS,
    check_new,
    check_same_settings,
    check_takes_files,
    nothing_to_resume,
)
from prune_env.agents.training import train
from prune_env.agents.training_slice import train_slice
from prune_env.agents.trials import Trial, TrialResult, result_of, without_result
from prune_env.errors import PruneEnvError, StateError
from prune_env.utils.bundle import Bundle, pack, unpack
from prune_env.utils.cluster import (
    ONE_CORE,
    RETRIES,
    Resources,
    check_nodes,
    connected,
    in_a_line,
    other_code,
)
from prune_env.utils.files import new_folder, read_json, shaped, write_json
from prune_env.utils.leases import alone
from prune_env.utils.source import code

TRIALS = "trials.json"
PAUSE_S = 300.0
"""Of learning in one task: so much is lost at most where one dies."""

Told = Callable[[TrialResult], None]


@dataclass(frozen=True)
class SideBySide:
    """Where trials run side by side.

    Attributes:
        address: Of Ray; see `utils.cluster.connected`.
        resources: Of each trial.
        pause_s: Seconds of learning in one task.
    """

    address: str
    resources: Resources = ONE_CORE
    pause_s: float = PAUSE_S


def train_trials(
    trials: Sequence[Trial],
    folder: str | Path,
    *,
    resume: bool = False,
    cluster: SideBySide | None = None,
    on_result: Told = lambda result: None,
) -> tuple[TrialResult, ...]:
    """Train several agents, each in a folder of its own, and write `trials.json`.

    Args:
        trials: What to train.
        folder: Holds their folders; new or empty, but to resume.
        resume: Go on with the trials in the folder; those that have ended are left alone.
        cluster: Where they run; None runs one after the other here.
        on_result: Called with each trial that ends.

    Returns:
        What became of each trial, in order.

    Raises:
        OutputExistsError: The folder is not empty and `resume` is not asked for.
        StateError: There is nothing to resume, a trial in the folder was started with other
            settings, another process trains in it, the folder is that of one training, a report or
            `trials.json` is damaged, or the cluster cannot be used.
    """
    folder = Path(folder)
    _check_folder(folder, resume=resume)
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder / "trials", f"trains in {folder}"), Interrupt() as stop:
        book = _Book(folder / TRIALS, on_result)
        rest = []
        for trial in trials:
            place = folder / trial.name
            _take_over(place)
            if (place / SETTINGS).exists():
                check_same_settings(trial.settings, place)
            if (result := result_of(trial, place)) is None:
                rest.append(trial)
            else:
                book.results[trial.name] = result
        if book.results:
            book.write()
        if rest and cluster is None:
            _one_by_one(rest, folder, stop, book.note)
        elif rest and cluster is not None:
            _side_by_side(rest, folder, cluster, stop, book.note)
    left = partial(without_result, status="paused", signal=stop.signal)
    return tuple(book.results.get(each.name) or left(each) for each in trials)


def _check_folder(folder: Path, *, resume: bool) -> None:
    """Raise if trials cannot begin in the folder, or cannot go on there; see `train_trials`."""
    if not resume:
        check_new(folder)
    elif (folder / SETTINGS).exists():
        raise StateError(
            f"{folder} holds one training, not several",
            remedy="resume it without --seeds, --sweep and --ray, or choose another --out",
        )
    elif not folder.is_dir() or not any(folder.iterdir()):
        raise nothing_to_resume(folder)
    else:
        check_takes_files(folder)


class _Book:
    """What trials reached, as `trials.json` holds it.

    Args:
        path: Of the file; what it tells of trials that are not asked for now stays in it.
        on_result: Called with each trial that ends.

    Attributes:
        results: Of the trials that have ended, by name.

    Raises:
        StateError: The file is damaged.
    """

    def __init__(self, path: Path, on_result: Told) -> None:
        self._path = path
        self._on_result = on_result
        self.results: dict[str, TrialResult] = {}
        self._before: dict[str, Any] = {}
        if path.exists():
            held = read_json(path)
            with shaped(path, "what trials reached", "delete it: it is written again"):
                self._before = {each["name"]: dict(each) for each in held}

    def note(self, result: TrialResult) -> None:
        """Write what became of a trial, and tell of it."""
        self.results[result.name] = result
        self.write()
        self._on_result(result)

    def write(self) -> None:
        """Write the file anew."""
        now = {name: asdict(each) for name, each in self.results.items()}
        write_json(self._path, list((self._before | now).values()))


def _one_by_one(trials: Sequence[Trial], folder: Path, stop: Interrupt, note: Told) -> None:
    for trial in trials:
        place = folder / trial.name
        if stop():
            return
        try:
            resume = (place / SETTINGS).exists()
            trained = train(trial.settings, place, resume=resume, stop=stop)
        except PruneEnvError as error:
            note(without_result(trial, "failed", error=f"{type(error).__name__}: {error}"))
            continue
        stop.signal = trained.signal or stop.signal  # one that came after it had learned, too
        note(result_of(trial, place) or without_result(trial, "paused", signal=stop.signal))


def _side_by_side(
    trials: Sequence[Trial], folder: Path, cluster: SideBySide, stop: Interrupt, note: Told
) -> None:
    with connected(cluster.address) as ray:
        check_nodes(ray, cluster.resources)
        task = ray.remote(train_slice).options(
            num_cpus=cluster.resources.num_cpus,
            num_gpus=cluster.resources.num_gpus,
            max_retries=RETRIES,
        )

        def send(trial: Trial, files: Bundle | None) -> Any:
            threads = cluster.resources.threads
            return task.remote(trial.settings, files, code(), cluster.pause_s, threads)

        sent = {}
        for trial in trials:
            begun = (folder / trial.name / SETTINGS).exists()
            sent[send(trial, pack(folder / trial.name) if begun else None)] = trial
        try:
            while sent and not stop():
                for reference in ray.wait(list(sent), timeout=1.0)[0]:
                    trial = sent.pop(reference)
                    files = _take(ray, reference, trial, folder / trial.name, note)
                    if files is not None:
                        sent[send(trial, files)] = trial
        finally:
            for reference in sent:
                ray.cancel(reference, force=True)


def _take(ray: Any, reference: Any, trial: Trial, place: Path, note: Told) -> Bundle | None:
    """Keep what a task left; return the files to go on from, or None if the trial has ended.

    Raises:
        StateError: The machine has other code.
    """
    try:
        reply = ray.get(reference)
    except ray.exceptions.RayError as error:
        note(without_result(trial, "failed", error=in_a_line(error)))
        return None
    if reply.refused:
        raise other_code({reply.node: reply.error})
    if reply.files is None:
        note(without_result(trial, "failed", error=reply.error, node=reply.node))
        return None
    _place(reply.files, place)
    result = result_of(trial, place, reply.node)
    if result is None:
        files: Bundle = reply.files
        return files
    note(result)
    return None


def _place(files: Mapping[str, Any], place: Path) -> None:
    """Put files in the place of the folder of a trial, whole."""
    with new_folder(_next(place)) as folder:
        unpack(files, folder)
    _take_over(place)


def _take_over(place: Path) -> None:
    """Give a new folder of a trial its name, also where a driver was killed before it did."""
    if _next(place).exists():
        shutil.rmtree(place, ignore_errors=True)
        os.replace(_next(place), place)


def _next(place: Path) -> Path:
    return place.with_name(f"{place.name}.next")
