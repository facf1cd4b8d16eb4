"""Trains the agents that come with the package, and puts them into its folders.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.shipped_agents --out runs/shipped

Each algorithm learns to prune as many heads as it can on 48 landscapes of three sizes, of which the
suite of `prune-env score` has none; on fewer, epsilon-greedy learns the landscapes by heart. It
learns once more on 48 landscapes of hybrid units. No model, recorded or not, is learned on, so that
all of them show what carries over. What did best without exploration is taken. One thread; a run
that was killed goes on with the same command. `--units hybrid` makes those of hybrid units alone.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro

import prune_env  # noqa: F401 - registers policies
from prune_env.agents.checkpoint import read_checkpoint, write_checkpoint
from prune_env.agents.shipped import SHIPPED
from prune_env.agents.train_settings import TrainSettings
from prune_env.agents.trained import learner_names
from prune_env.agents.training import train
from prune_env.importance.registry import UNIT_METRICS
from prune_env.settings import Pruned


def landscapes(
    shapes: Iterable[tuple[int, int]], seeds: Iterable[int], units: str = ""
) -> list[str]:
    """Return names of landscapes of some layers and heads, with or without other units."""
    return [
        f"landscape:layers={layers},heads={heads}{units},seed={seed}"
        for layers, heads in shapes
        for seed in seeds
    ]


SEEDS = range(1, 17)
UNITS = ",groups=8,steps=4"
GAMES: dict[Pruned, dict[str, Any]] = {
    "heads": {"pool": landscapes(((4, 8), (6, 12), (8, 12)), SEEDS), "max_drop": 0.05},
    "hybrid": {
        "pool": landscapes(((2, 6), (3, 8), (4, 12)), SEEDS, UNITS),
        "max_drop": 0.03,
        "metrics": list(UNIT_METRICS),
    },
}
"""Arguments of `Landscape-v0`, by what masks choose from."""


@dataclass(frozen=True)
class Options:
    """What is trained.

    Attributes:
        out: Folder of the runs.
        units: What masks choose from.
        algorithms: Some or all of those that learn.
        steps: Environment steps of each.
    """

    out: Path
    units: tuple[Pruned, ...] = ("heads", "hybrid")
    algorithms: tuple[str, ...] = tuple(learner_names())
    steps: int = 12_000


def main(options: Options) -> None:
    """Train each algorithm, on each kind of game."""
    torch.set_num_threads(1)
    for units in options.units:
        for algorithm in options.algorithms:
            train_one(units, algorithm, options)


def train_one(units: Pruned, algorithm: str, options: Options) -> None:
    """Train an agent, and put it into the package."""
    folder = options.out / ("" if units == "heads" else units) / algorithm
    settings = TrainSettings(
        algorithm=algorithm,
        env="prune_env/Landscape-v0",
        env_arguments={"model": None, "tau": None, **GAMES[units]},
        total_steps=options.steps,
        test_every=100,
    )
    result = train(settings, folder, resume=(folder / "settings.json").exists())
    best = result.best and result.best["total_reward"]
    print(units, algorithm, best, result.report["evaluations"], flush=True)
    place = SHIPPED[units] / algorithm
    shutil.rmtree(place, ignore_errors=True)
    found = read_checkpoint(folder / "best")
    # What epsilon-greedy remembers of single landscapes is of no use on any other model.
    kept = {name: found.tensors[name] for name in found.tensors if "experience." not in name}
    write_checkpoint(place, replace(found, tensors=kept))


if __name__ == "__main__":
    main(tyro.cli(Options))
