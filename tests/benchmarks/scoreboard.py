"""Scores policies and agents, and writes the tables of docs/scoreboard.md.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.scoreboard --out runs/scoreboard

`--tiers landscape tiny recorded minilm` scores the real model as well, which takes hours. The
tables stand between two markers of the page, and are made from the `score.json` files of OUT alone.
A run that was killed goes on with the same command. `bayesian` is left out: what it reads is not
recorded, and neither landscapes nor the tiny model have dropout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

import prune_env  # noqa: F401 - registers policies
from prune_env.research.score.entrant import find_entrant
from prune_env.research.score.scoring import SCORE, score
from prune_env.research.score.suite import TIERS, Suite, read_suite
from prune_env.utils.files import read_json

PAGE = Path(__file__).parents[2] / "docs" / "scoreboard.md"
BEGIN, END = "<!-- scores: written by tests/benchmarks/scoreboard.py -->", "<!-- end of scores -->"
ENTRANTS = (
    "random",
    "gradient",
    "layerwise-variance",
    "pure",
    "magnitude",
    "gate-gradient",
    "evolution",
    "greedy",
    "reward-greedy",
    "epsilon-greedy",
    "dqn",
    "ppo",
    "a2c",
    "maskable_ppo",
    "trained-epsilon-greedy",
    "trained-dqn",
    "trained-ppo",
    "trained-a2c",
    "trained-maskable-ppo",
    "carried-over",
    "carried-climb",
)


@dataclass(frozen=True)
class Options:
    """What is scored.

    Attributes:
        out: Where scorings are kept, a folder each.
        entrants: Names of policies, and folders of agents or masks.
        tiers: Parts of the suite; none: all that need no model of real size.
        write: Write the page.
    """

    out: Path
    entrants: tuple[str, ...] = ENTRANTS
    tiers: tuple[str, ...] = ()
    write: bool = True


def main(options: Options) -> None:
    """Score, and write the tables."""
    torch.set_num_threads(1)
    suite = read_suite("v3")
    for name in options.entrants:
        entrant = find_entrant(name, suite)
        score(entrant, suite, options.tiers or suite.quick, options.out / entrant.name)
    tables = board(options.out, suite)
    print(tables)
    if options.write:
        page = PAGE.read_text("utf-8")
        before, rest = page.split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{tables}\n{END}{rest.split(END)[1]}", "utf-8")


def board(out: Path, suite: Suite) -> str:
    """Return a table for each tier, best return first, from the results in a folder."""
    results = [read_json(path) for path in sorted(out.glob(f"*/{SCORE}"))]
    parts = []
    for tier in TIERS:
        held = [
            (result["name"], result["tiers"][tier])
            for result in results
            if tier in result["tiers"] and result["digest"] == suite.digest
        ]
        if held:
            parts.append(_table(tier, held))
    return "\n".join(parts)


def _table(tier: str, held: Sequence[tuple[str, dict[str, Any]]]) -> str:
    hidden = any(told["hidden_score"] for _, told in held)
    head = ["entrant", "return", *(["hidden"] if hidden else []), "masks asked"]
    lines = [f"### {tier}", "", _row(head), "|---" + "|--:" * (len(head) - 1) + "|"]
    for name, told in sorted(held, key=lambda each: -each[1]["return_score"]["mean"]):
        values = [told["return_score"], *([told["hidden_score"]] if hidden else [])]
        asked = "" if told["evaluations"] is None else f"{told['evaluations']:.0f}"
        lines.append(_row([f"`{name}`", *map(_told, values), asked]))
    return "\n".join([*lines, ""])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _told(value: dict[str, float] | None) -> str:
    return (
        "" if value is None else f"{value['mean']:.2f} ({value['low']:.2f} to {value['high']:.2f})"
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
