"""Tunes the agents for a model of MiniLM's shape, where every mask is dear.

A small random search for each algorithm, on synthetic landscapes of 6 x 12 heads, within as many
environment steps as a run on a real MiniLM can afford. What did best on some landscapes is then
compared with the settings as they were before on others, which the search never saw.

    python -m tests.benchmarks.tune_agents --out runs/tuning

One thread; a file for each training, so that a run that was killed goes on with the same command.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from rich.console import Console

import prune_env  # noqa: F401 - registers the environments
from prune_env.agents.callbacks import play
from prune_env.env.policy import POLICIES
from prune_env.research.benchmark.cell import digest
from prune_env.utils.files import read_json, write_json

BEFORE: Mapping[str, Mapping[str, Any]] = {
    "maskable_ppo": {"n_epochs": 10},
    "dqn": {"gradient_steps": 4},
}
"""What held for MiniLM before this search, besides the file's section `default`."""


def _falling(*starts: float) -> tuple[dict[str, float], ...]:
    return tuple({"start": start, "end": start / 10} for start in starts)


SPACES: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "maskable_ppo": {
        "learning_rate": _falling(2e-3, 5e-3, 1e-2),
        "num_envs": (4, 8),
        "n_steps": (16, 32),
        "batch_size": (64, 128),
        "n_epochs": (6, 10, 16),
        "ent_coef": (0.0, 0.003, 0.01),
        "gae_lambda": (0.9, 0.95, 1.0),
        "clip_range": (0.2, 0.3),
    },
    "a2c": {
        "learning_rate": _falling(3e-3, 7e-3, 1.5e-2),
        "num_envs": (4, 8),
        "n_steps": (8, 16),
        "ent_coef": (0.0, 0.003, 0.01),
        "gae_lambda": (0.9, 0.95, 1.0),
    },
    "dqn": {
        "learning_rate": _falling(1e-3, 2e-3, 4e-3),
        "num_envs": (4, 8),
        "gradient_steps": (2, 4),
        "target_update_interval": (100, 250, 500),
        "learning_starts": (200, 500),
        "exploration_initial_eps": (0.3, 0.5),
        "exploration_fraction": (0.3, 0.5),
    },
    "epsilon-greedy": {
        "learning_rate": (5e-4, 1e-3, 3e-3),
        "hidden": (16, 32),
        "updates_per_step": (4, 8, 16),
        "trace": (0.3, 0.6, 0.9),
        "epsilon_start": (0.1, 0.3, 0.5),
        "epsilon_end": (0.0, 0.05),
        "epsilon_share": (0.3, 0.5, 0.8),
    },
}
"""What may be drawn, by algorithm and hyperparameter. PPO plays as MaskablePPO does, head for head:
their network knows what is legal."""


@dataclass(frozen=True)
class Options:
    """What is run.

    Attributes:
        out: Folder of the results.
        algorithms: Which are tuned.
        draws: Settings drawn for each, besides those of before.
        steps: Environment steps of a training.
        tuning: Landscapes of the search, each with an agent of the same seed.
        judging: Landscapes that the search does not see.
        judging_seeds: Agents on each of those.
    """

    out: Path
    algorithms: tuple[str, ...] = tuple(SPACES)
    draws: int = 6
    steps: int = 2_000
    tuning: tuple[int, ...] = (101, 102, 103)
    judging: tuple[int, ...] = (201, 202, 203)
    judging_seeds: tuple[int, ...] = (0,)


def trained(
    options: Options, algorithm: str, changes: Mapping[str, Any], landscape: int, seed: int
) -> dict[str, Any]:
    """Return what an agent reached on a landscape, trained once.

    Returns:
        `handed_out`, the share of heads pruned by the better of the mask of the best episode and
        the last played; `played`, the latter alone; `seconds`.
    """
    key = digest([algorithm, options.steps, dict(changes), landscape, seed])
    path = options.out / "trainings" / f"{key}.json"
    if not path.exists():
        model = f"landscape:layers=6,heads=12,seed={landscape}"
        env = gym.make("prune_env/Landscape-v0", model=model, tau=None)
        agent = POLICIES[algorithm].for_env(env, seed=seed, hyperparameters=changes)
        started = time.perf_counter()
        agent.learn(env, total_steps=options.steps)
        seconds = time.perf_counter() - started
        played = float(play(env, agent, model)["total_reward"])
        result = {
            "algorithm": algorithm,
            "changes": dict(changes),
            "landscape": landscape,
            "seed": seed,
            "handed_out": max(played, agent.best_return),
            "played": played,
            "seconds": seconds,
        }
        write_json(path, result)
    found: dict[str, Any] = read_json(path)
    return found


def mean(results: list[dict[str, Any]], key: str) -> float:
    """Return the mean of a figure."""
    return float(np.mean([result[key] for result in results]))


def tune(options: Options, algorithm: str, console: Console) -> None:
    """Search, judge, and print what was found.

    Both what is handed out and what is played count: the one is what a single model gets, the
    other what the agent knows.
    """
    random = np.random.default_rng(sorted(SPACES).index(algorithm))
    before = dict(BEFORE.get(algorithm, {}))
    candidates = [before]
    for _ in range(options.draws):
        space = SPACES[algorithm]
        drawn = {name: values[random.integers(len(values))] for name, values in space.items()}
        candidates.append(drawn)
    scores = []
    for changes in candidates:
        results = [
            trained(options, algorithm, changes, landscape, landscape)
            for landscape in options.tuning
        ]
        scores.append((mean(results, "handed_out") + mean(results, "played")) / 2)
        told = f"{72 * mean(results, 'handed_out'):.1f} ({72 * mean(results, 'played'):.1f})"
        console.print(f"{algorithm} {changes}: {told} heads")
    best = candidates[int(np.argmax(scores))]
    for name, changes in (("before", before), ("best", best)):
        results = [
            trained(options, algorithm, changes, landscape, seed)
            for landscape in options.judging
            for seed in options.judging_seeds
        ]
        pruned = [72 * result["handed_out"] for result in results]
        console.print(
            f"{algorithm} {name} {changes}, on other landscapes: {np.mean(pruned):.1f} "
            f"± {np.std(pruned, ddof=1) / np.sqrt(len(pruned)):.1f} heads, "
            f"played {72 * mean(results, 'played'):.1f}; {mean(results, 'seconds'):.0f} s"
        )


def main() -> None:
    """Tune every algorithm in turn."""
    options = tyro.cli(Options, description=__doc__)
    torch.set_num_threads(1)
    console = Console(highlight=False, soft_wrap=True)
    for algorithm in options.algorithms:
        tune(options, algorithm, console)


if __name__ == "__main__":
    main()
