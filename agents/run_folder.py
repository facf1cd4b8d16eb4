"""The folder of a training: its settings stand in it from the beginning to the end."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prune_env.agents.train_settings import TrainSettings
from prune_env.env.pool import Pool
from prune_env.env.rewards.reward import WeightedSum, code_of_others
from prune_env.errors import SettingsError, StateError
from prune_env.utils.files import MISSHAPEN, read_json, write_json
from prune_env.utils.full_disk import disk_told
from prune_env.utils.output import check_free, check_writable
from prune_env.utils.source import source_of_others

SETTINGS = "settings.json"
CODE = "code of the reward"
"""Beside the models of a training: that of others, by the terms that it defines."""

LEARNER = "code of the algorithm"
"""Likewise, where the algorithm is that of others."""


def check_new(folder: Path) -> None:
    """Raise unless a training, or several, can begin in the folder.

    Raises:
        OutputExistsError: It is not empty.
        SettingsError: No folder can have this name, or it cannot be written.
    """
    # Of names that no folder can have the first is false, and `check_free` says so.
    begun = os.path.isdir(folder) and ((folder / SETTINGS).exists() or holds_several(folder))
    check_free(folder, resumable=begun)
    check_takes_files(folder)


def check_takes_files(folder: Path) -> None:
    """Raise unless a training can write into the folder, and beside it, where its lock lies.

    Args:
        folder: Of the run; it need not exist.

    Raises:
        SettingsError: It cannot.
    """
    try:
        check_writable(folder)
        check_writable(folder / SETTINGS)
    except SettingsError as error:
        raise SettingsError(
            f"The output folder {folder} cannot be written",
            expected="a folder that can be written, or a new one, in one that can be written",
            actual=error.actual,
            remedy="choose another --out, or change the permissions",
        ) from None


@contextmanager
def settings_written(settings: TrainSettings, folder: Path) -> Iterator[None]:
    """Write settings.json before the body, so that a run killed at any moment can be resumed.

    A mistake that the body finds, or Ctrl-C in it, takes it away again.

    Args:
        settings: How the agent is trained.
        folder: Of the run; made if missing.

    Raises:
        SettingsError: They hold what JSON does not.
    """
    path = folder / SETTINGS
    if path.exists():  # the run is resumed
        yield
        return
    new = not folder.exists()
    write_json(path, _plain(settings))
    try:
        yield
    except BaseException:
        path.unlink()
        if new:
            with suppress(OSError):  # what others put there stays
                folder.rmdir()
        raise


def ended_at(folder: Path) -> int | None:
    """Return after how many steps the run in a folder had ended; None if it had not."""
    with suppress(StateError, *MISSHAPEN):  # a damaged report is written anew
        report = read_json(folder / "report.json")
        if report["interrupted_by_signal"] is None:
            return int(report["steps"])
    return None


def place_told(folder: Path) -> AbstractContextManager[None]:
    """Say of a disk that is full where it is, and that a run which was begun there goes on."""
    goes_on = "What was saved stays; the same command with --resume goes on."
    return disk_told(folder, lambda: goes_on if (folder / SETTINGS).exists() else "")


def holds_several(folder: Path) -> bool:
    """Whether the folder is that of several trainings, each in a folder of its own."""
    return any(folder.glob(f"*/{SETTINGS}"))


def nothing_to_resume(folder: Path) -> StateError:
    """Return the error of a folder in which no training was begun."""
    return StateError(
        f"There is no run to resume in {folder}",
        expected="settings.json, which `prune-env train` writes at once",
        remedy="check the path, or start it without --resume",
    )


def check_same_settings(settings: TrainSettings, folder: Path) -> None:
    """Raise unless the run in the folder was started with equal settings.

    Args:
        settings: How the agent is to be trained.
        folder: Of the run.

    Raises:
        StateError: There is no such run, its settings are damaged, or they differ.
        SettingsError: The folder cannot be written.
    """
    path = folder / SETTINGS
    if not path.exists():
        if holds_several(folder):
            raise StateError(
                f"{folder} holds several trainings, not one",
                remedy="resume them with --seeds or --sweep as before, or one of them: "
                f"--out {folder}/NAME",
            )
        raise nothing_to_resume(folder)
    asked, held = _plain(settings), read_json(path)
    if not isinstance(held, dict):
        raise StateError(
            f"{path} holds no settings",
            expected="a JSON object",
            actual=f"{held!r:.80}",
            remedy="restore it, or start a new run",
        )
    changed = [name for name in asked if asked[name] != held.get(name)]
    if changed:
        raise StateError(
            f"The run in {folder} was started with other settings",
            expected=", ".join(f"{name}={held.get(name)}" for name in changed),
            actual=", ".join(f"{name}={asked[name]}" for name in changed),
            remedy="resume with the settings of settings.json, or start a new run",
        )
    check_takes_files(folder)


def check_same_models(held: Any, found: Mapping[str, Any], folder: Path) -> None:
    """Raise unless a training goes on with the models, data, reward and code that it was begun on.

    What was learned of others would be mixed with what is learned now, and the best mask of the one
    be compared with those of the other.

    Args:
        held: What `identities` told of them then; None of a release that did not ask.
        found: What it tells now.
        folder: Of the run.

    Raises:
        StateError: They differ.
    """
    if held is None or held == found:
        return
    told = held if isinstance(held, dict) else {}
    older = {CODE, LEARNER} - set(told)  # as releases before told them
    found = {name: value for name, value in found.items() if name not in older}
    changed = [name for name in {**told, **found} if told.get(name) != found.get(name)]
    if told and not changed:
        return
    expected, actual = (
        ", ".join(f"{name}: {each.get(name)}" for name in changed) for each in (told, found)
    )
    others = {CODE: "another reward", LEARNER: "another algorithm"}
    other = others.get(changed[0], "other models or clean data")
    raise StateError(
        f"The run in {folder} was begun with {other}",
        expected=expected,
        actual=actual,
        remedy="put them back as they were, or start a new run",
    )


def identities(pool: Pool, reward: WeightedSum, algorithm: type) -> dict[str, Any]:
    """Return by name what tells each model, its validation data and its training data apart.

    The fingerprint is of model and validation data; importance and rewards read the training data.
    Of a reward or an algorithm that is not this package's, the code is there too: its name stays,
    and it may not.
    """
    found: dict[str, Any] = {}
    for board in pool.boards:
        found[board.name] = {"model": board.subject.evaluator.fingerprint}
        if board.subject.suspect is not None:
            found[board.name]["train"] = board.subject.suspect.train.sha256
    if code := code_of_others(reward):
        found[CODE] = code
    if learner := source_of_others(algorithm):
        found[LEARNER] = learner
    return found


def _plain(settings: TrainSettings) -> dict[str, Any]:
    """Return the settings as JSON gives them back: a tuple is a list, a key a string.

    Raises:
        SettingsError: They hold what JSON does not.
    """
    try:
        plain: dict[str, Any] = json.loads(json.dumps(asdict(settings), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise SettingsError(
            "The settings of a training must be plain values, to be resumed from a file",
            expected="strings, finite numbers, and lists of them",
            actual=error,
        ) from None
    return plain
