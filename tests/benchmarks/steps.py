"""Steps a second of a recorded model, one episode at a time and many, beside CartPole.

Run it as `OMP_NUM_THREADS=1 python -m tests.benchmarks.steps` from the root of a checkout (half a
minute). Legal actions are drawn at random, which costs the same on every line, and ended episodes
begin anew; CartPole is Gymnasium's own, `CartPole-v1`, and tells how fast the machine is. Seconds
are the processor's; the lines take turns, and the best turn of each counts: other programs can only
slow one down. Nothing is asserted; docs/recorded.md has figures.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import tyro

import prune_env  # noqa: F401 - registers the environments

RECORDED = "prune_env/Recorded-v0"
REWARD = "inverted-trigger"
BLOCK = 500
"""Steps between two looks at the clock, which may cost more than a step."""


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        model: The recorded one.
        seconds: Of a turn.
        turns: Of each line.
        num_envs: Episodes of the vector environments.
    """

    model: str = "sst2-stylebkd-poetry-0"
    seconds: float = 1.0
    turns: int = 5
    num_envs: int = 8


def single(env: gym.Env[Any, Any], seconds: float) -> float:
    """Return steps a second, of processor time, of one episode after the other."""
    random = np.random.default_rng(0)
    _, info = env.reset(seed=0)
    steps, started, took = 0, time.process_time(), 0.0
    while took < seconds:
        for _ in range(BLOCK):
            _, _, terminated, truncated, info = env.step(_draw(env.action_space, info, random))
            if terminated or truncated:
                _, info = env.reset()
        steps, took = steps + BLOCK, time.process_time() - started
    return steps / took


def vector(envs: gym.vector.VectorEnv[Any, Any, Any], seconds: float) -> float:
    """Return steps a second of many episodes, those of all counted."""
    random = np.random.default_rng(0)
    _, infos = envs.reset(seed=0)
    space, count = envs.single_action_space, envs.num_envs
    steps, started, took = 0, time.process_time(), 0.0
    while took < seconds:
        for _ in range(BLOCK // count):
            legal = infos.get("action_mask", [None] * count)
            told = [{} if mask is None else {"action_mask": mask} for mask in legal]
            _, _, _, _, infos = envs.step(np.array([_draw(space, info, random) for info in told]))
        steps, took = steps + BLOCK // count * count, time.process_time() - started
    return steps / took


def _draw(space: gym.Space[Any], info: dict[str, Any], random: np.random.Generator) -> int:
    assert isinstance(space, gym.spaces.Discrete)
    if "action_mask" not in info:
        return int(random.integers(space.n))
    legal = np.flatnonzero(info["action_mask"])
    return int(legal[random.integers(len(legal))])


def main(options: Options) -> None:
    """Measure in turns, and print the best of each line."""
    count = options.num_envs
    make, vectors = gym.make, partial(gym.make_vec, num_envs=count)
    recorded: dict[str, Any] = {"model": options.model, "reward": REWARD, "tau": None}
    lines: dict[str, Callable[[float], float]] = {
        "CartPole-v1": partial(single, make("CartPole-v1")),
        f"CartPole-v1, {count} at a time": partial(vector, vectors("CartPole-v1")),
        RECORDED: partial(single, make(RECORDED, **recorded)),
        f"{RECORDED}, {count} at a time": partial(vector, vectors(RECORDED, **recorded)),
    }
    best = dict.fromkeys(lines, 0.0)
    for _ in range(options.turns):
        for name, measure in lines.items():
            best[name] = max(best[name], measure(options.seconds))
    print("| environment | steps a second of processor time |\n|---|--:|")
    for name, rate in best.items():
        print(f"| {name} | {rate:,.0f} |")


if __name__ == "__main__":
    main(tyro.cli(Options))
