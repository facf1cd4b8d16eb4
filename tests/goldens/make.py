"""Write the golden files anew: `python -m tests.goldens.make [part ...]`.

Only to be run where a change of what is written here is meant; say why in the commit.
Parts: tiny, names, play, runs, formats; all by default, but for `tiny`, the classifier itself.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from prune_env.utils.runtime import VARIABLE
from tests.goldens import formats, names, play, runs, tiny
from tests.goldens.files import inside, plain, write

SKIPPED_POLICIES = {"a2c", "dqn", "maskable_ppo", "ppo", "random-ensemble"}
SKIPPED_REWARDS = {
    "oracle",  # no name can stand for it
    "surrogate-but-style",  # as `surrogate`, and each takes a second
    "surrogate-but-syntactic",
}


def make_tiny(work: Path) -> None:
    """Train the tiny classifier; everything else depends on it."""
    tiny.write_clean()
    tiny.write_model()


def make_names(work: Path) -> None:
    """Write lists, ids, options, imports and addresses."""
    write("list", names.listed())
    write("specs", names.specs())
    write("options", {verb: names.options_of(verb) for verb in names.verbs()})
    write("imports", names.documented_imports())
    write("public_names", names.public_names())
    write("addresses", {grid: names.addresses(grid) for grid in names.GRIDS})


def make_play(work: Path) -> None:
    """Write episodes."""
    write("landscapes", {name: play.episode(case) for name, case in play.LANDSCAPES.items()})
    write("vectors", {name: play.vector(kwargs) for name, kwargs in play.VECTORS.items()})
    write("stable_baselines3", play.stable_baselines3())
    write("from_objects", play.from_objects())
    rewards = [name for name in names.listed()["rewards"] if name not in SKIPPED_REWARDS]
    rewards.append("sparsity + 0.5 * accuracy")
    with inside(runs.prepare(work)):
        played = {name: play.on_text(name) for name in rewards}
    for part in ("first_observation", "state"):
        write(f"text_{part}", played["sparsity"][part])
    write("texts", {name: each["steps"] for name, each in played.items()})


def make_runs(work: Path) -> None:
    """Write what the verbs do."""

    def new(name: str) -> Path:
        (work / name).mkdir()
        return runs.prepare(work / name)

    write("purified", {name: runs.purified(new(name), name) for name in runs.PURIFIED})
    policies = [name for name in names.listed()["policies"] if name not in SKIPPED_POLICIES]
    write("policies", {name: runs.found_by(new(name + "-policy"), name) for name in policies})
    write("measured", runs.measured(new("measured")))
    write("trained", {name: runs.trained(new(name + "-run"), name) for name in runs.TRAINED})
    write("benchmark", runs.benchmarked(new("benchmark")))


def make_formats(work: Path) -> None:
    """Write a file of every format, and what reading it gives."""
    formats.write(work)
    write("formats_models", formats.models())
    write("formats_agents", formats.agents())
    (work / "resumed").mkdir()
    played = {}
    for name in runs.TRAINED:
        (work / f"{name}-played").mkdir()
        played[name] = formats.played_by(runs.prepare(work / f"{name}-played"), name)
    write("formats_played", played)
    write("formats_resumed", {n: formats.resumed(work / "resumed", n) for n in runs.TRAINED})
    write("formats_states", plain(formats.states()))


PARTS: dict[str, Callable[[Path], None]] = {
    "tiny": make_tiny,
    "names": make_names,
    "play": make_play,
    "runs": make_runs,
    "formats": make_formats,
}


if __name__ == "__main__":
    torch.set_num_threads(1)  # as in the tests
    os.environ[VARIABLE] = "fp32"  # likewise
    for part in sys.argv[1:] or list(PARTS)[1:]:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[part](Path(folder))
        print(part)
