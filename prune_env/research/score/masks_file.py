"""The file of masks, a mask for each game and seed: what a scoring keeps, and a submission is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prune_env.errors import StateError
from prune_env.models.masks import Mask, pruned_heads, without_heads
from prune_env.research.score.game import PRECISION, TaskGame
from prune_env.research.score.suite import Suite
from prune_env.utils.files import read_json, write_json

NAME = "masks.json"
FORMAT = "prune-env-submission"
VERSION = 1


@dataclass(frozen=True, eq=False)
class FinalMask:
    """What one play of a game left.

    Attributes:
        mask: Bool (L, H), True = kept.
        evaluations: Distinct masks that were asked for; None where nobody counted.
    """

    mask: Mask
    evaluations: int | None


@dataclass(frozen=True, eq=False)
class MasksFile:
    """Masks by game and seed.

    Attributes:
        suite: The suite that they are for.
        path: Where they stand, or shall.
        entrant: Who made them, as plain values.
        runs: By name of the game and by seed, as JSON holds it: `pruned`, heads by layer; what a
            scoring wrote also has `evaluations`, `model`, the fingerprint of the model, and
            `precision`.
    """

    suite: Suite
    path: Path
    entrant: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def find(self, game: TaskGame, seed: int) -> FinalMask | None:
        """Return the mask of a game and a seed; None if there is none.

        Raises:
            StateError: It has another form, or says that it was made on another model.
            SettingsError: It prunes heads that the model does not have.
        """
        run = self.runs.get(game.task.name, {}).get(str(seed))
        if run is None:
            return None
        where = f"{self.path}: {game.task.name}, seed {seed}"
        if not isinstance(run, dict):
            raise StateError(f"{where} is no mask", expected='{"pruned": {"layer": [heads]}}')
        own = game.subject.evaluator.fingerprint
        if run.get("model", own) != own:
            raise StateError(
                f"{where} was made on another model",
                expected=f'"model": "{own}", or no "model"',
                actual=run["model"],
                remedy="make the mask on this model",
            )
        mask = without_heads(where, run.get("pruned"), game.subject.shape)
        asked = run.get("evaluations")
        return FinalMask(mask, asked if type(asked) is int else None)

    def is_of_game(self, game: TaskGame, seed: int) -> bool:
        """Return whether the mask of a seed was made for just this model, in this precision."""
        run = self.runs.get(game.task.name, {}).get(str(seed))
        if not isinstance(run, dict):
            return False
        made = (run.get("model"), run.get("precision"))
        return made == (game.subject.evaluator.fingerprint, PRECISION)

    def keep(self, game: TaskGame, seed: int, found: FinalMask) -> None:
        """Add a mask, and write the file."""
        self.runs.setdefault(game.task.name, {})[str(seed)] = {
            "pruned": pruned_heads(found.mask),
            "evaluations": found.evaluations,
            "model": game.subject.evaluator.fingerprint,
            "precision": PRECISION,
        }
        head = {"format": FORMAT, "version": VERSION, "suite": self.suite.version}
        write_json(
            self.path,
            {**head, "digest": self.suite.digest, "entrant": self.entrant, "masks": self.runs},
        )


def read_masks(path: Path, suite: Suite) -> MasksFile:
    """Return the masks of a file; it may be a stranger's.

    Raises:
        StateError: It is missing, too large, no such file, for another suite, or names a game or a
            seed that the suite does not have.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise StateError(
            f"{path} holds no masks for a score",
            expected=f'"format": "{FORMAT}"',
            remedy="docs/scoreboard.md shows one",
        )
    if content.get("version") != VERSION:
        raise StateError(
            f"{path} is of another version", expected=VERSION, actual=content.get("version")
        )
    asked = (suite.version, suite.digest)
    told = (content.get("suite"), content.get("digest", suite.digest))
    if told != asked:
        raise StateError(
            f"{path} is for another suite",
            expected=f"{asked[0]}, digest {asked[1]}",
            actual=f"{told[0]}, {f'digest {told[1]}' if 'digest' in content else 'no digest'}",
            remedy="make the masks for this suite; a score of another goes into another --out",
        )
    masks = content.get("masks")
    if not isinstance(masks, dict) or not all(isinstance(runs, dict) for runs in masks.values()):
        raise StateError(
            f"{path} holds no masks by game and seed",
            expected='"masks": {"GAME": {"SEED": {"pruned": {"layer": [heads]}}}}',
        )
    _check_names(path, masks, suite)
    entrant = content.get("entrant")
    return MasksFile(suite, path, entrant if isinstance(entrant, dict) else {}, masks)


def _check_names(path: Path, masks: dict[str, dict[str, Any]], suite: Suite) -> None:
    """Raise a `StateError` if a game or a seed is none of the suite's: it would not be read."""
    seeds = [str(seed) for seed in suite.seeds]
    named = [("games", list(masks), [task.name for task in suite.tasks])]
    named += [(f"seeds of {game}", list(runs), seeds) for game, runs in masks.items()]
    for what, given, own in named:
        unknown = [name for name in given if name not in own]
        if unknown:
            raise StateError(
                f"{path} names {what} that the suite {suite.version} does not have",
                expected=f"some of {', '.join(own)}",
                actual=", ".join(unknown),
                remedy="correct them, or leave them out",
            )
