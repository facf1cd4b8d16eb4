"""The two ends of a score: what random play gains, and what a search of the scored value finds."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.errors import MetricError
from prune_env.models.masks import Mask
from prune_env.purification.search import search
from prune_env.research.score.game import PRECISION, TaskGame
from prune_env.utils.files import cache_folder, read_json, write_json
from prune_env.utils.output import check_writable
from prune_env.utils.own import require_own
from prune_env.utils.plain import from_plain
from prune_env.utils.progress import tell
from prune_env.utils.runtime import auto_means

VERSION = 1
"""Raised whenever something below changes a reference."""
RANDOM_SEEDS = range(1_000, 1_020)
ORACLE_SEEDS = range(3)
ORACLE_BUDGETS = 20
"""From each seed the oracle asks so many times as many masks as those who are scored may."""
BATCH = 32
FLIPS = 3
SAVE_EVERY = 20.0
"""Seconds after which what masks are worth is kept on disk."""
Rank = tuple[float, float]
"""Value and accuracy of a mask."""
ILLEGAL: Rank = (-np.inf, 0.0)
ENDS = ("gained", "spared")
"""What is searched for its best masks, by its name in `MaskValues`; the second may be unknown."""
LEAST = 1e-6
"""Room between the two ends below which a score would be noise."""


@dataclass(frozen=True)
class EndPoints:
    """Values between which a score runs from 0 to 1.

    Attributes:
        random: Mean of 20 random orders.
        oracle: The best mask that a search of this very value met.
    """

    random: float
    oracle: float

    def score(self, value: float) -> float:
        """Return (value - random) / (oracle - random).

        Raises:
            MetricError: The oracle is no better than random play.

        Example:
            >>> EndPoints(random=0.25, oracle=0.75).score(0.5)
            0.5
        """
        room = self.oracle - self.random
        if not room > LEAST:
            raise MetricError(
                "A score is undefined where an oracle does no better than random play",
                expected=f"more than {self.random}",
                actual=self.oracle,
            )
        return (value - self.random) / room


@dataclass(frozen=True)
class TaskReference:
    """The ends of both scores of a game.

    Attributes:
        gained: Of the return.
        spared: Of 1 - LFR, calibrated; None where it is not known.
    """

    gained: EndPoints
    spared: EndPoints | None


@auto_means(PRECISION)
def find_reference(game: TaskGame) -> TaskReference:
    """Return the ends of a game's scores, computed once and kept in the cache.

    Raises:
        SettingsError: They are not there, and the cache cannot be written.
    """
    model = game.subject.evaluator.fingerprint
    key = {"task": asdict(game.task), "model": model, "precision": PRECISION}
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    folder = cache_folder() / "score" / f"v{VERSION}"
    require_own(folder)
    path = folder / f"{name}.json"
    known = {end: _KnownMasks(game, end, folder / f"{name}.{end}.json") for end in ENDS}
    if not path.exists():
        check_writable(path, "set PRUNE_ENV_CACHE to a folder that can be written")
        tell(f"Searching for the best masks of {game.task.name}, once on this machine.")
        write_json(path, asdict(_compute(game, known)))
    for each in known.values():
        each.forget()
    content: Any = read_json(path)
    return from_plain(TaskReference, content, str(path))


def _compute(game: TaskGame, known: dict[str, "_KnownMasks"]) -> TaskReference:
    masks = [
        search(game.subject, "random", game.task.search, seed=seed).mask for seed in RANDOM_SEEDS
    ]
    random = game.values(np.stack(masks))
    ends = {}
    for name in ENDS if game.knows_hidden else ENDS[:1]:
        best = max(climb(game, known[name], seed) for seed in ORACLE_SEEDS)
        ends[name] = EndPoints(float(getattr(random, name).mean()), best)
    return TaskReference(ends["gained"], ends.get("spared"))


def climb(game: TaskGame, rank: Callable[[Mask], list[Rank]], seed: int) -> float:
    """Return the greatest value of a mask that a search of the value itself meets.

    From the unpruned model it goes to the best of 32 masks that differ in a random head, of equals
    the most accurate, while that is better; else to the best of 32 that differ in one to three
    heads, if it is no worse; until the budget is spent.
    """
    random = np.random.default_rng(seed)
    heads = np.flatnonzero(game.subject.evaluator.available)
    mask = game.subject.evaluator.available.copy()
    best = rank(mask[None])[0]
    most = 1
    for _ in range(ORACLE_BUDGETS * game.task.budget // BATCH):
        tried = _neighbours(mask, heads, most, random)
        ranked = rank(tried)
        most = 1 if max(ranked) > best else FLIPS
        if max(ranked) >= best:
            best = max(ranked)
            mask = tried[ranked.index(best)]
    return best[0]


@dataclass
class AskedMasks:
    """What masks are worth that were asked for.

    Attributes:
        known: By mask (its bits, packed, in hex); None where the mask is not legal.
    """

    known: dict[str, Rank | None]


class _KnownMasks:
    """What masks are worth, each looked up once: small games meet the same masks again.

    A search of a real model takes hours, so what was asked is kept in a file: a search that was
    killed goes the same way again, and asks for no mask twice.

    Args:
        game: Whose masks they are.
        end: What they are worth of, one of `ENDS`; the other is not computed.
        path: Of the file.
    """

    def __init__(self, game: TaskGame, end: str, path: Path) -> None:
        self._game, self._end, self._path = game, end, path
        self._known: dict[str, Rank | None] = {}
        if path.exists():
            self._known = from_plain(AskedMasks, read_json(path), str(path)).known
        self._saved = time.monotonic()

    def __call__(self, masks: Mask) -> list[Rank]:
        """Return value and accuracy of masks (N, L, H); -inf for what is not legal."""
        keys = [np.packbits(mask).tobytes().hex() for mask in masks]
        new = {key: mask for key, mask in zip(keys, masks, strict=True) if key not in self._known}
        if new:
            values = self._game.values(np.stack(list(new.values())))
            worth, accuracy = getattr(values, self._end), values.accuracy
            for row, key in enumerate(new):
                rank = (float(worth[row]), float(accuracy[row]))
                self._known[key] = rank if values.legal[row] else None
            if time.monotonic() > self._saved + SAVE_EVERY:
                write_json(self._path, asdict(AskedMasks(self._known)))
                self._saved = time.monotonic()
        return [self._known[key] or ILLEGAL for key in keys]

    def forget(self) -> None:
        """Delete the file, if there is one: the end is known."""
        if self._path.exists():  # where nothing can be written, what is not there cannot go either
            self._path.unlink(missing_ok=True)


def _neighbours(
    mask: Mask, heads: npt.NDArray[np.intp], most: int, random: np.random.Generator
) -> Mask:
    """Return masks (N, L, H) in which one to `most` heads change, drawn at random."""
    masks = np.repeat(mask[None], BATCH, axis=0)
    for each in masks:
        chosen = random.choice(heads, min(int(random.integers(1, most + 1)), len(heads)), False)
        each.flat[chosen] ^= True
    return masks
