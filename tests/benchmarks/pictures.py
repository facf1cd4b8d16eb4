"""The pictures of the README: a head grid as it is pruned, and what every defence is worth.

Run it as `python -m tests.benchmarks.pictures` from the root of a checkout (seconds). For the
first, the order `gradient` plays `prune_env/Landscape-v0`, and three of the environment's own
pictures (`render_mode="rgb_array"`) stand side by side: the whole model, half way, and the end.
The second draws the table of every defence in docs/results.md, which `prune-env benchmark`
measured.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gymnasium as gym
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from prune_env import POLICIES
from prune_env.research.benchmark.labels import name_points

DOCS = Path(__file__).parents[2] / "docs"
IMAGES = DOCS / "images"
COLOURS = 128
KINDS = {
    "benign": ("no defence", "#555555", "*"),
    "backdoored": ("no defence", "#555555", "*"),
    "ft": ("fine-tuned", "#e0a000", "s"),
    "fth": ("fine-tuned", "#e0a000", "s"),
    "meft": ("fine-tuned", "#e0a000", "s"),
    "oracle": ("heads pruned by an oracle", "#8a5cc2", "^"),
}
PRUNED = ("heads pruned", "#4c78a8", "o")
HEALED = ("refitted, unlearned", "#2a9d4a", "D")
NAMED = {
    "benign": "benign",
    "backdoored": "backdoored",
    "ft": "fine-tuned",
    "gradient, direct": "gradient",
    "epsilon-greedy, direct": "epsilon-greedy",
    "reward-greedy, direct": "reward-greedy",
    "ft + unlearn (no head pruned)": "unlearn",
    "ft + refit-unlearn (no head pruned), the default": "the default",
}
"""Rows of the table whose points carry a name, and that name; more could not be read."""


class Point(NamedTuple):
    """What a defence was worth against one attack, in percent, means over seeds."""

    defence: str
    acc: float
    excess: float


def attacks(text: str) -> Iterator[tuple[str, list[Point]]]:
    """Yield each attack of the table of every defence, with calibrated excess LFR of each row."""
    table = text.split("<!-- works table -->\n")[1]
    table = table.split("\n<!-- end of works table -->", maxsplit=1)[0]
    head, _, *rows = (re.split(r"\s*\|\s*", line)[1:-1] for line in table.split("\n"))
    for at in (at for at, name in enumerate(head) if name.endswith(" ACC")):
        points = [
            Point(row[0].replace("*", ""), float(row[at].split()[0]), float(row[at + 2].split()[0]))
            for row in rows
            if row[at] and row[at + 2]
        ]
        yield head[at].removesuffix(" ACC"), points


def draw(axis: Axes, points: list[Point]) -> None:
    """Draw ACC against excess LFR."""
    axis.axhline(0, color="0.6", linewidth=1, linestyle="--", zorder=0)
    for point in points:
        healed = re.search("refit|unlearn", point.defence)
        name = point.defence.split(",")[0]
        kind, colour, marker = HEALED if healed else KINDS.get(name, PRUNED)
        axis.plot(point.acc, point.excess, marker, color=colour, label=kind, alpha=0.85)
    axis.set_xlabel("ACC (%)")
    axis.margins(0.14)
    axis.grid(alpha=0.25)


def acc_against_lfr(path: Path) -> None:
    """Draw what every defence keeps of accuracy and leaves of the backdoor, attack by attack."""
    figure = Figure(figsize=(9.2, 4.2), layout="constrained")
    worth = dict(attacks((DOCS / "results.md").read_text(encoding="utf-8")))
    axes = figure.subplots(1, len(worth), sharey=True)
    for axis, (attack, points) in zip(axes, worth.items(), strict=True):
        draw(axis, points)
        axis.set_title(attack)
    axes[0].set_ylabel("excess LFR, calibrated (points)")
    marks = {label: mark for mark, label in zip(*axes[0].get_legend_handles_labels(), strict=True)}
    figure.legend(
        marks.values(), marks.keys(), loc="outside lower center", ncols=len(marks), fontsize=9
    )
    for axis, points in zip(axes, worth.values(), strict=True):
        named = [point for point in points if point.defence in NAMED]
        others = [(point.acc, point.excess) for point in points if point not in named]
        figure.draw_without_rendering()  # now the axes know where they stand
        taken = [
            Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in axis.transData.transform(others)
        ]
        names = [NAMED[point.defence] for point in named]
        name_points(figure, axis, [(point.acc, point.excess) for point in named], names, taken)
    figure.savefig(path, dpi=130)
    Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)


def head_grid(path: Path) -> None:
    """Play, and write three of the environment's pictures."""
    env = gym.make("prune_env/Landscape-v0", render_mode="rgb_array")
    policy = POLICIES["gradient"].for_env(env)
    observation, info = env.reset(seed=0)
    frames = [np.asarray(env.render())]
    done = False
    while not done:
        action, _ = policy.predict(observation, action_masks=info["action_mask"])
        observation, _, terminated, truncated, info = env.step(action)
        frames.append(np.asarray(env.render()))
        done = terminated or truncated
    shown = np.concatenate([frames[0], frames[len(frames) // 2], frames[-1]], axis=1)
    Image.fromarray(shown).quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    head_grid(IMAGES / "head-grid.png")
    acc_against_lfr(IMAGES / "acc-against-lfr.png")
