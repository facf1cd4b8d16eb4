"""Faults and load, counted: `python -m tests.benchmarks.faults kill --times 50` (minutes to hours).

`kill` ends verbs with SIGKILL at random moments, runs them again, and compares what is left with
what an undisturbed run leaves. `full` runs them under limits of file size that hit one write after
the other. `load` plays, forks and evaluates a thousand times and compares memory and open files at
the end with those after a tenth.
"""

import gc
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium as gym
import minari
import numpy as np
import tyro
from stable_baselines3.common.vec_env import SubprocVecEnv

import prune_env  # registers the environments
from prune_env.data.dataset import write_jsonl
from prune_env.evaluation import MaskEvaluator
from prune_env.models import load_classifier
from tests.research.benchmark.support import write_grid
from tests.support import tiny_dataset, write_tiny_folder


@dataclass(frozen=True)
class Options:
    """What is tried.

    Attributes:
        what: `kill`, `full` or `load`.
        times: Kills of each verb.
        verbs: What is killed, or runs out of room; names in `COMMANDS`.
        seed: Of the moments.
    """

    what: Annotated[Literal["kill", "full", "load"], tyro.conf.Positional]
    times: int = 50
    verbs: tuple[str, ...] = ("purify", "train", "benchmark", "record")
    seed: int = 0


def main(options: Options) -> None:
    """Try, and print what held."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.what == "load":
            load(folder)
            return
        write_tiny_folder(folder / "model")
        write_jsonl(folder / "clean.jsonl", tiny_dataset(64))
        write_grid(folder / "grid", ["gradient", "random"])
        for verb in options.verbs:
            command = COMMANDS[verb]
            if options.what == "kill":
                kill(folder, verb, command, options)
            else:
                fill(folder, verb, command)


MINARI = "tiny-v0"
"""The data set that `record-minari` writes."""
RECORD = (
    *("record", "--model", "model", "--data", "clean.jsonl", "--rewards", "sparsity"),
    *("--masks", "96", "--out", "out/record.npz", "--surrogate", "out/surrogate.npz"),
)
COMMANDS = {
    "purify": (
        *("purify", "model", "--data", "clean.jsonl", "--out", "out", "--policy", "gradient"),
        *("--healing", "none", "--guard", "accuracy"),
    ),
    "train": (
        *("train", "--algo", "epsilon-greedy", "--env", "prune_env/Landscape-v0", "--out", "out"),
        *("--steps", "600", "--save-every", "100"),
    ),
    "benchmark": ("benchmark", "grid/grid.toml", "--out", "out", "--workers", "1"),
    "record": RECORD,
    "record-minari": (*RECORD, "--minari", MINARI, "--episodes", "5"),
}


def start(folder: Path, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start the program in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "prune_env", *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PRUNE_ENV_CACHE": str(folder / "cache"),
            "MINARI_DATASETS_PATH": str(folder / "out"),
        },
        **options,
    )


def names_in(folder: Path) -> list[str]:
    """Return what lies in a folder, but for locks, the log and the cache."""
    names = (path.name for path in folder.iterdir())
    return sorted(name for name in names if name != "cache" and not name.endswith(".lock"))


def result_of(folder: Path) -> Any:
    """Return what a run left, without times and versions."""
    if records := sorted((folder / "out").glob("*.npz")):
        found: list[Any] = [(path.name, path.read_bytes()) for path in records]
        if (folder / "out" / MINARI).exists():
            found += [(way.actions.tolist(), way.rewards.tolist()) for way in episodes_of(folder)]
        return found
    cells = sorted((folder / "out" / "cells").glob("*.json"))
    found = [json.loads(path.read_text()) for path in cells or [folder / "out" / "report.json"]]
    return without_seconds(found)


def episodes_of(folder: Path) -> list[minari.EpisodeData]:
    """Return the episodes of the Minari data set that `record` left."""
    return list(minari.MinariDataset(folder / "out" / MINARI / "data").iterate_episodes())


def without_seconds(value: Any) -> Any:
    """Return plain values less every duration."""
    if isinstance(value, dict):
        own = (key for key in value if "second" not in key and key != "meta")
        return {key: without_seconds(value[key]) for key in own}
    return [without_seconds(each) for each in value] if isinstance(value, list) else value


def kill(folder: Path, verb: str, command: Sequence[str], options: Options) -> None:
    """Kill a verb at random moments; run it again; compare."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    began = time.monotonic()
    process = start(folder, command)
    _, said = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"{verb} fails undisturbed: {said.decode()[-500:]}")
    whole, expected = time.monotonic() - began, result_of(folder)
    names = names_in(folder)
    moments, held = random.Random(options.seed), 0
    for index in range(options.times):
        shutil.rmtree(folder / "out")
        process = start(folder, command)
        try:
            process.communicate(timeout=moments.uniform(0.2, 1.0) * whole)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        resume = verb == "train" and any((folder / "out" / "agent").glob("*.json"))
        if verb == "purify" or (verb == "train" and not resume):
            shutil.rmtree(folder / "out", ignore_errors=True)
        if (folder / "out" / MINARI).exists():  # whole, or the run would have to fail on it
            assert len(episodes_of(folder)) == 5
            shutil.rmtree(folder / "out" / MINARI)  # what the message says
        again = start(folder, [*command, *(["--resume"] if resume else [])])
        _, said = again.communicate()
        left = names_in(folder)
        same = again.returncode == 0 and result_of(folder) == expected
        clean = left == names
        held += same and clean
        if not (same and clean):
            print(f"{verb} {index}: {again.returncode} {said.decode()[-300:]} left {left}")
    print(f"{verb}: killed {options.times} times, {held} held", flush=True)


def fill(folder: Path, verb: str, command: Sequence[str]) -> None:
    """Run a verb under limits of file size; each must end in one message and leave nothing."""
    sizes, held = [0, 1, 100, 1_000, 3_000, 6_000, 10_000, 20_000, 40_000, 80_000, 120_000], 0
    names = [name for name in names_in(folder) if name != "out"]
    for size in sizes:
        shutil.rmtree(folder / "out", ignore_errors=True)
        process = start(folder, command, preexec_fn=limit_of(size))
        _, said = process.communicate(timeout=300)
        text = said.decode("utf-8", "replace")
        left = names_in(folder)
        fine = process.returncode == 0 or (
            process.returncode == 2 and "Traceback" not in text and "error:" in text
        )
        fine = fine and (process.returncode == 0 or verb != "purify" or left == names)
        fine = fine and all(map(is_whole, (folder / "out").rglob("*")))
        held += fine
        if not fine:
            print(f"{verb}, {size} bytes: {process.returncode} {text[-600:]} left {left}")
    shutil.rmtree(folder / "out", ignore_errors=True)
    print(f"{verb}: {len(sizes)} limits of file size, {held} held", flush=True)


def is_whole(path: Path) -> bool:
    """Return whether a file or folder is none, or no part, of what a record leaves."""
    if path.name.startswith("."):
        return False
    if path.name == MINARI:
        return len(episodes_of(path.parent.parent)) == 5
    if path.suffix != ".npz":
        return True
    with zipfile.ZipFile(path) as archive:
        return archive.testzip() is None


def limit_of(size: int) -> Callable[[], None]:
    """Return what gives a child process a limit of file size."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def load(folder: Path) -> None:
    """Do each thing many times; compare memory and open files with those after a tenth."""
    write_tiny_folder(folder / "model")
    loaded = load_classifier(folder / "model")
    data = tiny_dataset(32)
    env = gym.make("prune_env/Landscape-v0")
    evaluator = MaskEvaluator(loaded.model, loaded.tokenizer, data)
    masks = np.random.default_rng(0).random((5_000, 2, 4)) < 0.7
    masks[:, :, 0] = True
    works: dict[str, tuple[int, Callable[[int], object]]] = {
        "resets": (1_000, lambda index: env.reset(seed=index)),
        "masks": (5_000, lambda index: evaluator.accuracy(masks[index][None])),
        "forks": (200, lambda index: env.unwrapped.fork().close()),  # type: ignore[attr-defined]
        "loads": (100, lambda index: load_classifier(folder / "model")),
    }
    for name, (times, work) in works.items():
        compare(name, times, work)
    env.close()
    # Not "fork": this process has threads by now, and a child that inherits their locks may hang.
    vector = SubprocVecEnv([landscape] * 8, "forkserver")
    vector.reset()
    stop = np.full(8, vector.action_space.n - 1)  # type: ignore[attr-defined]
    compare("steps of SubprocVecEnv", 1_000, lambda _: vector.step(stop))
    vector.close()


def landscape() -> gym.Env[Any, Any]:
    """Make an environment, in a process that has imported nothing yet."""
    import prune_env  # noqa: F401, PLC0415 - registers it

    return gym.make("prune_env/Landscape-v0")


def compare(name: str, times: int, work: Callable[[int], object]) -> None:
    """Do one thing many times and print how memory and open files grew after a tenth."""
    for index in range(times // 10):
        work(index)
    gc.collect()
    early = memory(), len(os.listdir("/proc/self/fd"))
    for index in range(times // 10, times):
        work(index)
    gc.collect()
    late = memory(), len(os.listdir("/proc/self/fd"))
    grown = 100 * (late[0] / early[0] - 1)
    verdict = "held" if grown <= 5 and late[1] <= early[1] * 1.05 else "GREW"
    print(f"{name}: {times} times, memory {grown:+.1f} %, files {early[1]} to {late[1]}: {verdict}")


def memory() -> int:
    """Return the resident memory of this process and its children in bytes."""
    own = os.getpid()
    children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
    pages = (Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in (own, *children))
    return sum(map(int, pages)) * resource.getpagesize()


if __name__ == "__main__":
    assert prune_env.__version__
    main(tyro.cli(Options, description=__doc__))
