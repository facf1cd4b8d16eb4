"""Trains the agents that come with the package, and puts them into its folders.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.shipped_agents --out runs/shipped

Each algorithm learns to prune as many heads as it can on 48 landscapes of three sizes, of which the
suites of `prune-env score` have none; on fewer, epsilon-greedy learns the landscapes by heart. It
learns once more on 48 landscapes of hybrid units. No model, recorded or not, is learned on, so that
all of them show what carries over. MaskablePPO learns on recorded models too, one of each kind of
trigger, with three seeds; of the three the one that does best on these models is taken, and the
suite from v3 on plays others. Likewise it learns on two records of hybrid units. What did best
without exploration is what is put there. One thread; a run that was killed goes on with the same
command. `--kinds hybrid` makes those of hybrid units alone.
"""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import tyro

import prune_env  # noqa: F401 - registers policies
from prune_env.agents.checkpoint import read_checkpoint, write_checkpoint
from prune_env.agents.shipped import RECORDED, SHIPPED
from prune_env.agents.train_settings import TrainSettings
from prune_env.agents.trained import learner_names
from prune_env.agents.training import train
from prune_env.importance.registry import UNIT_METRICS


def landscapes(
    shapes: Iterable[tuple[int, int]], seeds: Iterable[int], units: str = ""
) -> list[str]:
    """Return names of landscapes of some layers and heads, with or without other units."""
    return [
        f"landscape:layers={layers},heads={heads}{units},seed={seed}"
        for layers, heads in shapes
        for seed in seeds
    ]


Kind = Literal["heads", "hybrid", "records", "hybrid-records"]
SEEDS = range(1, 17)
UNITS = ",groups=8,steps=4"


@dataclass(frozen=True)
class Course:
    """What agents of one kind learn.

    Attributes:
        place: Folder of the package that takes them.
        env: Id of the environment.
        arguments: Of the environment.
        steps: Environment steps of each.
        algorithms: Names of those that learn.
        seeds: Of the agents; the best of them is taken.
        test_every: Episodes between two tests without exploration.
    """

    place: Path
    env: str
    arguments: Mapping[str, Any]
    steps: int = 12_000
    algorithms: tuple[str, ...] = field(default_factory=lambda: tuple(learner_names()))
    seeds: tuple[int, ...] = (0,)
    test_every: int = 100


COURSES: dict[Kind, Course] = {
    "heads": Course(
        SHIPPED["heads"],
        "prune_env/Landscape-v0",
        {
            "model": None,
            "tau": None,
            "pool": landscapes(((4, 8), (6, 12), (8, 12)), SEEDS),
            "max_drop": 0.05,
        },
    ),
    "hybrid": Course(
        SHIPPED["hybrid"],
        "prune_env/Landscape-v0",
        {
            "model": None,
            "tau": None,
            "pool": landscapes(((2, 6), (3, 8), (4, 12)), SEEDS, UNITS),
            "max_drop": 0.03,
            "metrics": list(UNIT_METRICS),
        },
    ),
    "records": Course(
        RECORDED["heads"],
        "prune_env/Recorded-v0",
        {
            "model": None,
            "tau": None,
            "pool": ["sst2-hiddenkiller-0", "sst2-stylebkd-bible-0", "sst2-stylebkd-poetry-0"],
            "reward": "inverted-trigger",
            "max_drop": 0.03,
        },
        steps=20_000,
        algorithms=("maskable_ppo",),
        seeds=(0, 1, 2),
        test_every=50,
    ),
    "hybrid-records": Course(
        RECORDED["hybrid"],
        "prune_env/Recorded-v0",
        {
            "model": None,
            "tau": None,
            "pool": ["sst2-hiddenkiller-1-hybrid", "sst2-stylebkd-poetry-1-hybrid"],
            "reward": "inverted-trigger",
            "max_drop": 0.02,
            "metrics": list(UNIT_METRICS),
        },
        steps=40_000,
        algorithms=("maskable_ppo",),
        seeds=(0, 1, 2),
        test_every=50,
    ),
}


@dataclass(frozen=True)
class Options:
    """What is trained.

    Attributes:
        out: Folder of the runs.
        kinds: Some of `COURSES`.
    """

    out: Path
    kinds: tuple[Kind, ...] = get_args(Kind)


def main(options: Options) -> None:
    """Train each algorithm of each kind, and put what is best into the package."""
    torch.set_num_threads(1)
    for kind in options.kinds:
        course = COURSES[kind]
        for algorithm in course.algorithms:
            folders = [options.out / kind / f"{algorithm}-{seed}" for seed in course.seeds]
            returns = [
                train_one(course, algorithm, seed, folder)
                for seed, folder in zip(course.seeds, folders, strict=True)
            ]
            print(kind, algorithm, returns, flush=True)
            ship(folders[returns.index(max(returns))] / "best", course.place / algorithm)


def train_one(course: Course, algorithm: str, seed: int, folder: Path) -> float:
    """Train an agent; return what it was paid at its best, without exploration."""
    settings = TrainSettings(
        algorithm=algorithm,
        env=course.env,
        env_arguments=dict(course.arguments),
        total_steps=course.steps,
        seed=seed,
        test_every=course.test_every,
    )
    result = train(settings, folder, resume=(folder / "settings.json").exists())
    assert result.best is not None
    return float(result.best["total_reward"])


def ship(best: Path, place: Path) -> None:
    """Put an agent into the package."""
    shutil.rmtree(place, ignore_errors=True)
    found = read_checkpoint(best)
    # What epsilon-greedy remembers of single landscapes is of no use on any other model.
    kept = {name: found.tensors[name] for name in found.tensors if "experience." not in name}
    write_checkpoint(place, replace(found, tensors=kept))


if __name__ == "__main__":
    main(tyro.cli(Options))
