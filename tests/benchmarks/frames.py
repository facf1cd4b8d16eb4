"""How deep the project's own calls go: a step of the environment, and `prune-env purify`.

Run it as `python -m tests.benchmarks.frames` from the root of a checkout (a minute), or as a part
of `make bench`. It prints the deepest chain of the project's own frames on each way; frames of
libraries between them do not count, and comprehensions do not either, since Python 3.12 has no
frames for them. Nothing is asserted; docs/architecture.md has the figures.
"""

import sys
import tempfile
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import gymnasium as gym

import prune_env
from prune_env.cli import main
from prune_env.data.dataset import write_jsonl
from tests.support import tiny_dataset, write_tiny_folder

PACKAGE = Path(prune_env.__file__).resolve().parent
HOMES = tuple(
    f"{each}/"
    for each in (PACKAGE, *((PACKAGE / link).resolve() for link in ("agents", "baselines")))
)
COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>")
TARGETS = {"step": 12, "purify": 16}


class Deepest:
    """Watches every call while it is entered, and keeps the deepest chain of own frames."""

    def __init__(self) -> None:
        self.way: list[str] = []
        self._own: dict[CodeType, bool] = {}

    def __enter__(self) -> "Deepest":
        """Start to watch."""
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop to watch."""
        sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, argument: Any) -> None:
        del argument
        if event != "call" or not self._is_own(frame.f_code):
            return
        chain = []
        at: FrameType | None = frame
        while at is not None:
            if self._is_own(at.f_code):
                chain.append(at.f_code)
            at = at.f_back
        if len(chain) > len(self.way):
            self.way = [f"{_place(code)}  {code.co_qualname}" for code in reversed(chain)]

    def _is_own(self, code: CodeType) -> bool:
        if code not in self._own:
            place = str(Path(code.co_filename).resolve())
            self._own[code] = place.startswith(HOMES) and code.co_name not in COMPREHENSIONS
        return self._own[code]


def _place(code: CodeType) -> str:
    path = Path(code.co_filename).resolve()
    root = PACKAGE if path.is_relative_to(PACKAGE) else PACKAGE.parent
    return path.relative_to(root).as_posix()


def ways_of_steps(env: gym.Env[Any, Any]) -> tuple[list[str], list[str]]:
    """Return the deepest chain of the first step, and of every step after it in two episodes."""
    env.action_space.seed(0)
    first, later = Deepest(), Deepest()
    watch = first
    for seed in range(2):
        _, info = env.reset(seed=seed)
        done = False
        while not done:
            action = env.action_space.sample(mask=info["action_mask"])
            with watch:
                _, _, terminated, truncated, info = env.step(action)
            done, watch = terminated or truncated, later
    return first.way, later.way


def way_of_purify(folder: Path, data: Path, out: Path, *options: str) -> list[str]:
    """Return the deepest chain of `prune-env purify` with these options."""
    arguments = ["purify", str(folder), "--data", str(data), "--out", str(out), *options]
    with Deepest() as deepest:
        status = main(arguments)
    if status:
        raise SystemExit(f"prune-env {' '.join(arguments)} ended with {status}")
    return deepest.way


def show(title: str, way: list[str], target: int) -> None:
    """Print one way."""
    print(f"\n{title}: {len(way)} frames (at most {target} wanted)")
    for depth, line in enumerate(way, start=1):
        print(f"  {depth:2d}  {line}")


def run(place: Path) -> None:
    """Measure every way, and print each."""
    model = write_tiny_folder(place / "tiny")
    data = place / "clean.jsonl"
    write_jsonl(data, tiny_dataset(90))  # of 100 rows, a random model would be refused
    name = "prune_env/HeadPruning-v0"
    ways = {
        "A step, BERT and MaskEvaluator": gym.make(name, model=str(model), data=str(data), tau=0.2),
        "A step, Landscape": gym.make("prune_env/Landscape-v0"),
    }
    for title, env in ways.items():
        first, later = ways_of_steps(env)
        show(f"{title}, the first", first, TARGETS["step"])
        show(f"{title}, later", later, TARGETS["step"])
    fast = ("--epochs", "1", "--tau", "0.1", "--guard", "accuracy", "--importance-sentences", "16")
    for title, options in {
        "purify, the default": (),
        "purify --policy gradient": ("--policy", "gradient"),
        "purify --policy epsilon-greedy": ("--policy", "epsilon-greedy", "--budget", "20"),
        "purify --healing none": ("--healing", "none", "--budget", "20"),
        "purify --units hybrid": ("--units", "hybrid", "--budget", "20"),
    }.items():
        out = place / title.replace(" ", "-")
        show(title, way_of_purify(model, data, out, *fast, *options), TARGETS["purify"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder))
