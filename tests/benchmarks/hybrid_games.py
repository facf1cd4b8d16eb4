"""What shipped agents do on hybrid games that none of them learned on, beside fixed policies.

    python -m tests.benchmarks.hybrid_games

Games are tiny BERTs, made at first use, and landscapes of other seeds than the training's. Printed
is the mean share of all units that a policy prunes within tau and the budget, and the masks that it
asks for. One thread.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import tyro

import prune_env  # noqa: F401 - registers policies
from prune_env.agents.trained import learner_names
from prune_env.env.hybrid import find_units
from prune_env.env.subject import Subject
from prune_env.importance.registry import UNIT_METRICS
from prune_env.purification import search
from prune_env.settings import SearchSettings, UnitSettings
from tests.benchmarks.shipped_agents import UNITS, landscapes

FIXED = ("random", "magnitude", "gradient", "gate-gradient", "greedy")
TRAINED = tuple(f"trained-{name.replace('_', '-')}" for name in learner_names())
GAMES = {
    "tiny": [
        f"tiny:seed={seed},layers={layers},heads={heads}"
        for seed in (1, 2)
        for layers, heads in ((3, 4), (4, 6))
    ],
    "landscape": landscapes(((3, 8), (6, 12)), range(501, 507), UNITS),
}


@dataclass(frozen=True)
class Options:
    """What is played.

    Attributes:
        policies: Names of policies, or folders of trained agents.
        games: Some of `GAMES`.
        drops: Each the accuracy (0 to 1) that may be lost.
        budget: Masks that may be asked for.
        seeds: Of policies that draw; the others play once.
    """

    policies: tuple[str, ...] = (*FIXED, *TRAINED)
    games: tuple[str, ...] = tuple(GAMES)
    drops: tuple[float, ...] = (0.01, 0.03)
    budget: int = 300
    seeds: int = 3


def main(options: Options) -> None:
    """Print a row of a table for each kind of game, drop and policy."""
    torch.set_num_threads(1)
    for kind in options.games:
        subjects = [find_units(name, None, UNIT_METRICS, UnitSettings()) for name in GAMES[kind]]
        for drop in options.drops:
            for policy in options.policies:
                played = np.array(list(play(subjects, policy, drop, options)))
                share, asked = played.mean(axis=0)
                print(f"| {kind} | {drop} | `{policy}` | {share:.3f} | {asked:.0f} |", flush=True)


def play(
    subjects: list[Subject], policy: str, drop: float, options: Options
) -> Iterator[tuple[float, int]]:
    """Yield the share of units pruned, and the masks asked, of every game and seed."""
    rules = SearchSettings(max_drop=drop, budget=options.budget)
    for subject in subjects:
        total = int(subject.evaluator.available.sum())
        for seed in range(options.seeds if policy == "random" else 1):
            found = search(subject, policy, rules, seed=seed)
            yield sum(subject.units.pruned(found.mask).values()) / total, found.evaluations


if __name__ == "__main__":
    main(tyro.cli(Options))
