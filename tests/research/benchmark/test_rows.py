import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from prune_env.evaluation.metrics import share
from prune_env.evaluation.scores import Scores
from prune_env.research.benchmark.rows import make_row, markdown, table, write_result

FIELDS = {
    "policy": "gradient",
    "protocol": "direct",
    "attack": "rare-word",
    "seed": 1,
    "heads_pruned": 3,
    "heads_total": 8,
    "evaluations": 9,
    "seconds": 1.5,
}


def percent(count: int) -> object:
    return share(np.arange(10) < count)


def scores(acc: int, lfr: int) -> Scores:
    return Scores(percent(acc), percent(lfr), percent(acc), percent(lfr - 1))


def test_excess_is_measured_against_the_benign_model() -> None:
    row = make_row(scores(9, 6), scores(9, 2), **FIELDS)
    assert (row.acc, row.lfr, row.floor, row.excess_lfr) == pytest.approx((90, 60, 20, 40))
    assert row.excess_lfr_calibrated == pytest.approx(50 - 10)


def test_what_is_undefined_stays_undefined() -> None:
    row = make_row(Scores(percent(9)), None, **FIELDS)
    assert row.lfr is row.floor is row.excess_lfr is row.lfr_calibrated is None


def test_the_result_is_json_with_its_three_blocks(tmp_path: Path) -> None:
    row = make_row(scores(9, 6), scores(9, 2), **FIELDS)
    result = write_result(tmp_path / "result.json", {"seed": 1}, [row])
    stored = json.loads((tmp_path / "result.json").read_text())
    assert stored["run"] == {"seed": 1}
    assert stored["rows"][0]["excess_lfr"] == pytest.approx(40)
    assert stored["meta"]["versions"]["torch"] == result["meta"]["versions"]["torch"]


def test_what_rounds_to_nothing_has_no_sign() -> None:
    row = replace(make_row(scores(9, 6), scores(9, 2), **FIELDS), excess_lfr=-0.04)
    assert "-0.0" not in markdown([row])
    assert "| 0.0 |" in markdown([row])


@pytest.mark.parametrize("healing", ["none", "refit-unlearn"])
def test_tables_fit_a_terminal_and_hold_the_figures(healing: str) -> None:
    changes = {"policy": "layerwise-variance", "healing": healing}
    row = make_row(scores(9, 6), scores(9, 2), **{**FIELDS, **changes})
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table([row], "title"))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 100
    for cell in ("layerwise-variance", "direct", "90.0", "60.0", "40.0", "3/8", "9"):
        assert cell in text
        assert cell in markdown([row])
    assert (healing in text) == (healing != "none")


def test_the_table_says_what_healed_a_mask() -> None:
    row = make_row(scores(9, 6), scores(9, 2), **FIELDS)
    healed = make_row(scores(9, 6), scores(9, 2), healing="unlearn", **FIELDS)
    assert "| direct |" in markdown([row])
    assert "| direct + unlearn |" in markdown([healed])
