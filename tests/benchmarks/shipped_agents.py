"""Trains the agents that come with the package, and puts them into `agents/shipped_agents/`.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.shipped_agents --out runs/shipped

Each algorithm learns to prune as many heads as it can on 48 landscapes of three sizes, of which the
suite of `prune-env score` has none; on fewer, epsilon-greedy learns the landscapes by heart. No
model that is recorded is learned on, so that all of them show what carries over. What did best
without exploration is taken. One thread; a run that was killed goes on with the same command.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

import prune_env  # noqa: F401 - registers policies
from prune_env.agents.checkpoint import read_checkpoint, write_checkpoint
from prune_env.agents.shipped import SHIPPED
from prune_env.agents.train_settings import TrainSettings
from prune_env.agents.trained import learner_names
from prune_env.agents.training import train

LANDSCAPES = [
    f"landscape:layers={layers},heads={heads},seed={seed}"
    for layers, heads in ((4, 8), (6, 12), (8, 12))
    for seed in range(1, 17)
]


@dataclass(frozen=True)
class Options:
    """What is trained.

    Attributes:
        out: Folder of the runs.
        algorithms: Some or all of those that learn.
        steps: Environment steps of each.
    """

    out: Path
    algorithms: tuple[str, ...] = tuple(learner_names())
    steps: int = 12_000


def main(options: Options) -> None:
    """Train each algorithm."""
    torch.set_num_threads(1)
    for algorithm in options.algorithms:
        folder = options.out / algorithm
        settings = TrainSettings(
            algorithm=algorithm,
            env="prune_env/Landscape-v0",
            env_arguments={"model": None, "pool": LANDSCAPES, "tau": None, "max_drop": 0.05},
            total_steps=options.steps,
            test_every=100,
        )
        result = train(settings, folder, resume=(folder / "settings.json").exists())
        print(algorithm, result.best and result.best["total_reward"], result.report["evaluations"])
        shutil.rmtree(SHIPPED / algorithm, ignore_errors=True)
        write_checkpoint(SHIPPED / algorithm, read_checkpoint(folder / "best"))


if __name__ == "__main__":
    main(tyro.cli(Options))
