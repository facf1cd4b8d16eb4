"""Scoring: every game is played with every seed, and what the masks are worth is looked up."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.errors import StateError
from prune_env.research.score.entrant import Entrant, SubmittedMasks
from prune_env.research.score.game import PRECISION, TaskGame
from prune_env.research.score.masks_file import NAME, FinalMask, MasksFile, read_masks
from prune_env.research.score.reference import TaskReference, find_reference
from prune_env.research.score.statistics import Estimate, estimate
from prune_env.research.score.suite import ScoredTask, Suite
from prune_env.settings import Precision
from prune_env.utils.files import read_json, write_json
from prune_env.utils.leases import alone
from prune_env.utils.output import check_writable
from prune_env.utils.progress import progress
from prune_env.utils.runtime import auto_means

log = logging.getLogger(__name__)

SCORE = "score.json"
FORMAT = "prune-env-score"
VERSION = 1


@dataclass(frozen=True)
class ScoredRun:
    """A game, played once.

    Attributes:
        task: Name of the game.
        tier: Its tier.
        seed: Of the policy.
        legal: Whether the mask keeps tau and a head in every layer; else it counts as no pruning.
        pruned: Heads that the mask prunes.
        accuracy: On clean validation data.
        gained: The return: reward of the mask minus that of the unpruned model.
        lfr: Label flip rate, calibrated, 0 to 1; None where it is not known.
        return_score: 0 at random play, 1 at the oracle.
        hidden_score: The same of 1 - LFR.
        evaluations: Distinct masks that were asked for; None where nobody counted.
    """

    task: str
    tier: str
    seed: int
    legal: bool
    pruned: int
    accuracy: float
    gained: float
    lfr: float | None
    return_score: float
    hidden_score: float | None
    evaluations: int | None


@dataclass(frozen=True)
class TierScore:
    """The score of a tier.

    Attributes:
        runs: Games times seeds.
        return_score: Over the runs.
        hidden_score: Over the runs; None where no LFR is known.
        evaluations: Mean of the runs; None where nobody counted.
    """

    runs: int
    return_score: Estimate
    hidden_score: Estimate | None
    evaluations: float | None


@dataclass(frozen=True)
class ScoreReport:
    """What a scoring found.

    Attributes:
        name: Who was scored.
        entrant: What tells it from any other.
        suite: Version of the suite.
        digest: SHA-256 of the suite.
        tiers: By name.
        runs: In the order of the suite.
        references: The ends of the scores, by name of the game.
        models: Fingerprint of each game's model, by name of the game: two results of one suite are
            of the same models where these are equal.
        precision: Of every pass of a model.
    """

    name: str
    entrant: dict[str, Any]
    suite: str
    digest: str
    tiers: dict[str, TierScore]
    runs: tuple[ScoredRun, ...]
    references: dict[str, TaskReference]
    models: dict[str, str]
    precision: Precision = PRECISION

    def plain(self) -> dict[str, Any]:
        """Return what `score.json` holds."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}


@auto_means(PRECISION)
def score(
    entrant: Entrant, suite: Suite, tiers: Sequence[str], out: Path | None = None
) -> ScoreReport:
    """Score a policy, an agent or masks on tiers of a suite.

    Args:
        entrant: Who is scored.
        suite: The suite.
        tiers: Names of tiers.
        out: Folder for `score.json` and `masks.json`, to which a mask is added after each play: a
            scoring that was killed goes on there. The folder of a submission itself keeps its
            masks as they are.

    Raises:
        StateError: `out` holds the masks or the score of somebody else, or another process scores
            into it.
        SettingsError: A tier has no game, a model does not show what the policy reads, or `out` is
            no folder.
        UnknownNameError: There is no such tier.
    """
    tasks = suite.tasks_of(tiers)
    with _opened(entrant, suite, out) as held:
        runs: list[ScoredRun] = []
        references, models = {}, {}
        with progress(f"Scoring {entrant.name}", len(tasks) * len(suite.seeds)) as advance:
            for task in tasks:
                game = TaskGame(task, entrant.metrics)
                models[task.name] = game.subject.evaluator.fingerprint
                reference = references[task.name] = find_reference(game)
                masks = []
                for found in _played(entrant, game, suite.seeds, held):
                    masks.append(found)
                    advance(len(runs) + len(masks))
                runs += _judged(game, reference, suite.seeds, masks)
        report = ScoreReport(
            name=entrant.name,
            entrant=entrant.identity,
            suite=suite.version,
            digest=suite.digest,
            tiers={tier: _tier([run for run in runs if run.tier == tier], tasks) for tier in tiers},
            runs=tuple(runs),
            references=references,
            models=models,
        )
        if out is not None:
            write_json(out / SCORE, report.plain())
    return report


@contextmanager
def _opened(entrant: Entrant, suite: Suite, out: Path | None) -> Iterator[MasksFile | None]:
    """Give the file of masks in a folder, which no other process adds to while the body runs.

    None if there is no folder, or the masks in it stay as they are.

    Raises:
        SettingsError: The folder is a file, or cannot be written.
        StateError: The masks, or the score, are somebody else's, or another process adds to them.
    """
    if out is None:
        yield None
        return
    check_writable(out / NAME)
    with alone(out / NAME, f"scores into {out / NAME}"):
        yield _read(entrant, suite, out / NAME)


def _read(entrant: Entrant, suite: Suite, path: Path) -> MasksFile | None:
    """Return a file of masks with those that are there; None if they stay as they are.

    Raises:
        StateError: The masks, or the score beside them, are somebody else's.
    """
    if not path.exists():
        _require_own(path.with_name(SCORE), entrant)
        return MasksFile(suite, path, entrant.identity)
    held = read_masks(path, suite)
    own = isinstance(entrant, SubmittedMasks) and path.samefile(entrant.path)
    if own and not held.entrant:
        return None  # masks that somebody wrote, scored where they stand
    _require_same(path, "masks", entrant, held.entrant)
    return held


def _require_own(path: Path, entrant: Entrant) -> None:
    """Raise a `StateError` if a score that stands without masks is somebody else's."""
    if path.exists():
        content = read_json(path)
        found = content.get("entrant") if isinstance(content, dict) else None
        _require_same(path, "a score", entrant, found)


def _require_same(path: Path, what: str, entrant: Entrant, found: object) -> None:
    if found != entrant.identity:
        raise StateError(
            f"{path} holds {what} of somebody else",
            expected=entrant.identity,
            actual=found,
            remedy="choose another --out; to score those masks, name their folder",
        )


def _played(
    entrant: Entrant, game: TaskGame, seeds: Sequence[int], held: MasksFile | None
) -> Iterator[FinalMask]:
    """Yield the mask of each seed: of a model that is the same, one that is held already."""
    for seed in seeds:
        goes_on = held is not None and entrant.plays and held.is_of_game(game, seed)
        found = held.find(game, seed) if held is not None and goes_on else None
        if found is None:
            found = entrant.play(game, seed)
            if held is not None:
                held.keep(game, seed, found)
        yield found


def _judged(
    game: TaskGame, reference: TaskReference, seeds: Sequence[int], found: Sequence[FinalMask]
) -> Iterator[ScoredRun]:
    values = game.values(np.stack([each.mask for each in found]))
    if not values.legal.all():
        illegal = [str(seed) for seed, legal in zip(seeds, values.legal, strict=True) if not legal]
        log.warning(
            "%s, seed %s: the mask falls below tau or empties a layer, and counts as no pruning",
            game.task.name,
            ", ".join(illegal),
        )
    for row, (seed, each) in enumerate(zip(seeds, found, strict=True)):
        spared = None if values.spared is None else float(values.spared[row])
        gained = float(values.gained[row])
        ends = reference.spared
        yield ScoredRun(
            task=game.task.name,
            tier=game.task.tier,
            seed=seed,
            legal=bool(values.legal[row]),
            pruned=int((game.subject.evaluator.available & ~each.mask).sum()),
            accuracy=float(values.accuracy[row]),
            gained=gained,
            lfr=None if spared is None else 1 - spared,
            return_score=reference.gained.score(gained),
            hidden_score=None if spared is None or ends is None else ends.score(spared),
            evaluations=each.evaluations,
        )


def _tier(runs: Sequence[ScoredRun], tasks: Sequence[ScoredTask]) -> TierScore:
    """Return the score of the runs of a tier; each task is a stratum of the bootstrap."""

    def over(value: Callable[[ScoredRun], float | None]) -> Estimate | None:
        by_task = [
            [each for run in runs if run.task == task.name and (each := value(run)) is not None]
            for task in tasks
        ]
        known = [values for values in by_task if values]
        return estimate(known) if known else None

    returns = over(lambda run: run.return_score)
    assert returns is not None
    asked = [run.evaluations for run in runs if run.evaluations is not None]
    return TierScore(
        runs=len(runs),
        return_score=returns,
        hidden_score=over(lambda run: run.hidden_score),
        evaluations=float(np.mean(asked)) if asked else None,
    )
