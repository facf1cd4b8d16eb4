"""A tiny grid that really runs, and a run folder of made-up results."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.data.dataset import write_jsonl
from prune_env.research.benchmark.cell import ORACLES, REFERENCES, Cell
from prune_env.research.benchmark.config import BenchmarkConfig
from prune_env.research.benchmark.plan import PLAN, GridPlan, PlannedCell
from prune_env.research.benchmark.rows import ResultRow
from prune_env.research.benchmark.store import Store
from prune_env.utils import runtime
from prune_env.utils.files import write_json
from prune_env.utils.plain import to_plain
from tests.support import tiny_bert, tiny_dataset, tiny_tokenizer

GRID = """
title = "Tiny"
data = "{data}"

[models]
model = "{encoder}"
attacker = {{ epochs = 2, learning_rate = 1e-3, precision = "fp32" }}
defender = {{ epochs = 1, learning_rate = 1e-3, precision = "fp32" }}

[search]
tau = 0.4
budget = 12
importance_sentences = 16

[[grid]]
attacks = ["rare-word"]
seeds = {seeds}
policies = {policies}
protocols = {protocols}
"""


def write_grid(
    folder: Path,
    policies: list[str],
    seeds: tuple[int, ...] = (0,),
    protocols: tuple[str, ...] = ("direct",),
) -> Path:
    """Write data, an encoder and a grid of tiny models into `folder`; return the grid."""
    for seed, part in enumerate(("train", "validation", "test")):
        (folder / "data").mkdir(parents=True, exist_ok=True)
        write_jsonl(folder / "data" / f"{part}.jsonl", tiny_dataset(60, seed))
    tiny_bert().bert.save_pretrained(folder / "encoder")
    tiny_tokenizer().save_pretrained(folder / "encoder")
    path = folder / "grid.toml"
    text = GRID.format(
        data=folder / "data",
        encoder=folder / "encoder",
        seeds=list(seeds),
        policies=policies,
        protocols=list(protocols),
    )
    path.write_text(text.replace("'", '"'))
    return path


Figures = Callable[[Cell, np.random.Generator], tuple[float, float]]
"""ACC and LFR of a made-up cell."""


def made_up(
    folder: Path,
    config: BenchmarkConfig,
    figures: Figures,
    *,
    failed: Callable[[Cell], bool] = lambda cell: False,
    missing: Callable[[Cell], bool] = lambda cell: False,
) -> None:
    """Write a run folder as a benchmark would leave it, without running anything."""
    random = np.random.default_rng(0)
    store, planned, meta = Store(folder), [], runtime.describe()
    for cell in config.cells():
        key = cell.key({})
        planned.append(PlannedCell(key, str(cell), cell))
        if missing(cell):
            continue
        plain = {"cell": to_plain(cell), "meta": meta}
        if failed(cell):
            store.write(key, {**plain, "status": "failed", "error": "Broken: no luck"})
            continue
        row, found = _row(cell, figures, random), None
        if cell.policy not in REFERENCES:
            shape = (1 if cell.policy != "random-ensemble" else 5, 6, 12)
            share = 0.0 if cell.protocol == "none" else row["heads_pruned"] / 72
            found = {"masks": (random.random(shape) >= share).astype(int).tolist()}
        attack = {"family": "style", "trigger": {"name": "x"}, "target_label": 1, "rate": 0.2}
        vectors = None
        if cell.models.seed == 0:
            shift = row["lfr"] / 100
            vectors = {
                "clean_target": random.normal(2, 1, (40, 16)),
                "clean_other": random.normal(-2, 1, (40, 16)),
                "triggered": random.normal(4 * shift - 2, 1, (40, 16)),
            }
            vectors = {kind: each.astype(np.float16) for kind, each in vectors.items()}
        value = {**plain, "status": "done", "row": row, "found": found, "attack": attack}
        store.write(key, value, vectors)
    write_json(folder / PLAN, to_plain(GridPlan(config, {}, tuple(planned))))


def _row(cell: Cell, figures: Figures, random: np.random.Generator) -> dict[str, Any]:
    acc, lfr = figures(cell, random)
    floor = 30.0
    pruned = 0 if cell.protocol == "none" else int(random.integers(15, 45))
    return asdict(
        ResultRow(
            policy=cell.policy,
            protocol=cell.protocol,
            attack=cell.models.attack.attack,
            seed=cell.models.seed,
            acc=acc,
            lfr=lfr,
            floor=floor,
            excess_lfr=lfr - floor,
            acc_calibrated=acc + 0.4,
            lfr_calibrated=lfr - 2,
            excess_lfr_calibrated=lfr - floor,
            heads_pruned=pruned,
            heads_total=72,
            evaluations=300 if cell.policy in (*ORACLES, "greedy") else 9,
            seconds=float(random.uniform(1, 400)),
            acc_interval=(acc - 1.4, acc + 1.4),
            lfr_interval=(lfr - 3, lfr + 3),
            target=cell.target,
            healing=cell.healing,
            variant=cell.search.variant,
            tau=cell.search.tau,
        )
    )
