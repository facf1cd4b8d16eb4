"""Who is scored: a policy that plays within the budget, or masks that somebody handed in."""

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from prune_env.env.policy import POLICIES, TrainedStrategy, find_policy
from prune_env.errors import SettingsError, StateError
from prune_env.importance import DEFAULT_METRICS
from prune_env.importance.registry import columns_of_units
from prune_env.purification.search import search
from prune_env.research.score.game import TaskGame
from prune_env.research.score.masks_file import NAME, FinalMask, read_masks
from prune_env.research.score.suite import Suite
from prune_env.training.phases import Phase
from prune_env.utils.files import sha256_of
from prune_env.utils.source import source_of_others


class Entrant(Protocol):
    """Gives a mask for each game and seed.

    Attributes:
        name: For tables.
        identity: What tells it from any other, as plain values.
        metrics: Importance metrics that it must be shown.
        plays: Whether its masks are made here, within the budget.
    """

    name: str
    identity: dict[str, Any]
    metrics: tuple[str, ...]
    plays: bool

    def play(self, game: TaskGame, seed: int) -> FinalMask:
        """Return the mask that it leaves of a game."""
        ...


class PolicyEntrant:
    """A policy of a name, or the trained agent of a folder.

    It is held to the budget by what counts its masks: see `search`.

    Args:
        policy: See `find_policy`.
        name: For tables.

    Raises:
        UnknownNameError: No policy has this name.
        StateError: The folder holds no agent.
        SettingsError: The policy does not choose one mask of a given model, or it learned on other
            units than heads.
    """

    plays = True

    def __init__(self, policy: str, name: str) -> None:
        strategy = find_policy(policy)
        required = strategy.requirements()
        if not required.prunes or required.members > 1 or required.search != (Phase(),):
            raise SettingsError(
                f"The policy '{policy}' is more than a choice of heads",
                expected="one that chooses one mask, and leaves the model as it is",
                remedy="measure it by `prune-env benchmark`",
            )
        if of_units := columns_of_units(required.metrics):
            # Some games could show them, of a model that is then cut, and so another by its name.
            raise SettingsError(
                f"{policy} learned on hybrid units, and the games of a suite are of heads alone",
                expected="what learned on heads",
                actual=f"it reads {', '.join(of_units)}",
                remedy="play it where there are such units: `prune-env purify --units hybrid`",
            )
        self.name = name
        self.metrics = tuple(dict.fromkeys((*DEFAULT_METRICS, *required.metrics)))
        trained = isinstance(strategy, TrainedStrategy)
        self.identity: dict[str, Any] = (
            strategy.identity  # type: ignore[attr-defined]
            if trained
            else {"policy": policy, "version": version("prune-env"), **_code(policy)}
        )
        self._policy = policy

    def play(self, game: TaskGame, seed: int) -> FinalMask:
        """Play a game; see `Entrant`."""
        found = search(game.subject, self._policy, game.task.search, seed=seed)
        return FinalMask(found.mask, found.evaluations)


def _code(policy: str) -> dict[str, str]:
    """Return the code of a policy of others, which may change where our version does not."""
    code = source_of_others(POLICIES[policy])
    return {} if code is None else {"code": code}


class SubmittedMasks:
    """A folder with masks; whatever else it claims is not read.

    Args:
        folder: Holds `masks.json`.
        suite: The suite that they must be for.

    Raises:
        StateError: The file is damaged, for another suite, or names what the suite does not have.

    Attributes:
        path: The file.
    """

    plays = False
    metrics: tuple[str, ...] = DEFAULT_METRICS

    def __init__(self, folder: Path, suite: Suite) -> None:
        self.name = folder.resolve().name
        self.path = folder / NAME
        self._file = read_masks(self.path, suite)
        # Many folders are called "submission": the file itself tells who is who.
        self.identity: dict[str, Any] = {"masks": self.name, "sha256": sha256_of(self.path)}

    def play(self, game: TaskGame, seed: int) -> FinalMask:
        """Return the mask that was handed in; see `Entrant`.

        Raises:
            StateError: There is none, or it was made on another model.
        """
        found = self._file.find(game, seed)
        if found is None:
            raise StateError(
                f"{self._file.path} holds no mask for {game.task.name}, seed {seed}",
                remedy="add it, or leave its tier out of --tiers",
            )
        return FinalMask(found.mask, None)


def find_entrant(text: str, suite: Suite) -> Entrant:
    """Return who is meant.

    Args:
        text: A policy's name; the folder of a training, or `best` or `agent` in it; or a folder
            with `masks.json`.
        suite: The suite that is played.

    Raises:
        UnknownNameError: No policy has this name, and there is no such folder.
        StateError: The folder holds neither an agent nor masks, or they are damaged.
        SettingsError: The policy does not choose one mask of a given model.
    """
    folder = Path(text)
    if text in POLICIES or not folder.is_dir():
        return PolicyEntrant(text, text)
    if os.path.lexists(folder / NAME):  # one that leads nowhere is told, not passed over
        return SubmittedMasks(folder, suite)
    whole = folder.resolve()
    return PolicyEntrant(text, whole.parent.name if whole.name in ("best", "agent") else whole.name)
