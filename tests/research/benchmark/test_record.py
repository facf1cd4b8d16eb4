"""The result of a cell as a stranger may write it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prune_env.errors import StateError
from prune_env.research.benchmark import figures
from prune_env.research.benchmark.config import read_config
from prune_env.research.benchmark.store import Store
from tests.research.benchmark.support import made_up

KEY = "00000000000000ab"
GRID = """
title = "T"
data = "d"

[[grid]]
attacks = ["rare-word"]
seeds = [0]
policies = ["gradient"]
protocols = ["direct"]
"""


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the file of a made-up cell holds."""
    folder = tmp_path_factory.mktemp("grid")
    (folder / "grid.toml").write_text(GRID)
    made_up(folder / "run", read_config(folder / "grid.toml"), lambda cell, random: (90.0, 20.0))
    cells = [json.loads(path.read_text()) for path in (folder / "run").glob("cells/*.json")]
    return next(each for each in cells if each["row"]["policy"] == "gradient")


def row(**changed: Any) -> Callable[[dict[str, Any]], None]:
    return lambda held: held["row"].update(changed)


def masks(members: Any) -> Callable[[dict[str, Any]], None]:
    return lambda held: held["found"].update(masks=members)


def read(folder: Path, cell: dict[str, Any], spoil: Callable[[dict[str, Any]], None]) -> Any:
    held = json.loads(json.dumps(cell))
    spoil(held)
    store = Store(folder)
    store.write(KEY, held)
    return store.read(KEY)


def test_masks_may_hold_heads_that_are_not_there_to_be_pruned(
    tmp_path: Path, cell: dict[str, Any]
) -> None:
    record = read(tmp_path, cell, row(heads_total=70))
    assert record.masks.shape == (1, 6, 12)


@pytest.mark.parametrize(
    "spoil",
    [
        masks([[[0] * 100_000] * 2]),
        masks([[[0]] * 1001]),
        masks([[[]]]),
        masks([]),
        masks([[[0] * 12] * 5]),
        row(heads_total=10**400),
        row(heads_total=10**400, heads_pruned=10**399),
        row(evaluations=10**400),
        row(evaluations=-1),
        row(seed=10**400),
        row(seconds=1e300),
        row(seconds=10**400),
        row(lfr=10**400),
        row(tau=-1e300),
        row(lfr_interval=[1.0]),
        row(acc_interval=[1.0, 2.0, 3.0]),
        row(lfr_calibrated_interval=[1.0]),
    ],
)
def test_what_no_cell_comes_to_is_refused(
    tmp_path: Path, cell: dict[str, Any], spoil: Callable[[dict[str, Any]], None]
) -> None:
    with pytest.raises(StateError, match=rf"{KEY}\.json"):
        read(tmp_path, cell, spoil)


@pytest.mark.parametrize("shape", [(1000, 1), (1, 1000)])
def test_the_heads_of_an_odd_model_are_drawn_on_a_bounded_page(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    figures.pruned_heads(tmp_path / "heads.png", {"gradient": np.zeros(shape)})
    with Image.open(tmp_path / "heads.png") as drawn:
        assert max(drawn.size) < 3000
