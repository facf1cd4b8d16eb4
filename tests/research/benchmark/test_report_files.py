"""Marks that differ, names at points, and the tables as CSV and LaTeX."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from prune_env.research.attacks.own_files import AttackFiles
from prune_env.research.benchmark import acc_lfr
from prune_env.research.benchmark.cell import Cell
from prune_env.research.benchmark.config import BenchmarkConfig, Block
from prune_env.research.benchmark.labels import LONGEST, name_points
from prune_env.research.benchmark.marks import marks
from prune_env.research.benchmark.report import write_report
from prune_env.research.benchmark.results import read_results
from tests.research.benchmark.support import made_up

SEEDS = (0, 1, 2)


def test_a_hundred_policies_have_marks_of_their_own() -> None:
    held = marks([f"policy {number}" for number in range(100)])
    assert len(held) == 100
    assert len({(mark.colour, mark.fill) for mark in held.values()}) == 100
    assert len({(mark.colour, str(mark.dashes)) for mark in held.values()}) == 100


def test_names_stand_at_their_points_and_not_on_each_other() -> None:
    figure = Figure(figsize=(8, 6), layout="constrained")
    axis = figure.subplots()
    random = np.random.default_rng(0)
    points = [(float(x), float(y)) for x, y in random.random((25, 2))]
    axis.plot(*zip(*points, strict=True), "o")
    name_points(figure, axis, points, [f"policy-{number}" for number in range(25)])
    figure.draw_without_rendering()
    # Without the line that leads to a point.
    boxes = [text.get_tightbbox() if not text.arrow_patch else None for text in axis.texts]
    near = [box for box in boxes if box is not None]
    shared = [
        (one, other)
        for place, one in enumerate(near)
        for other in near[:place]
        if one.shrunk(0.9, 0.9).overlaps(other.shrunk(0.9, 0.9))
    ]
    assert len(axis.texts) == 25
    assert not shared


def test_names_do_not_lie_on_error_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(acc_lfr, "save", lambda figure, _: drawn.append(figure))
    block = Block(("rare-word",), SEEDS, ("gradient", "random", "ft"), ("direct",))

    def far_apart(cell: Cell, random: np.random.Generator) -> tuple[float, float]:
        return 87.0 + random.random(), 10.0 + 40 * cell.models.seed

    made_up(tmp_path, BenchmarkConfig(grid=(block,), data="sst2"), far_apart)
    write_report(tmp_path)
    axis = drawn[0].axes[0]
    ends = [axis.transData.transform(bar.get_segments()[0]) for bar in axis.collections]
    bars = [Bbox([each.min(axis=0), each.max(axis=0)]) for each in ends]
    names = [text for text in axis.texts if text.get_text() in ("gradient", "random", "ft")]
    assert len(bars) == 2 * len(names) > 4
    assert max(bar.height for bar in bars) > 0.3 * axis.get_window_extent().height
    # A name stands in the middle of its own bars, if it is not moved out of their way.
    assert not [
        (text.get_text(), bar)
        for text in names
        for bar in bars
        if Text.get_window_extent(text).overlaps(bar)
    ]


def test_long_names_are_cut_beside_their_points() -> None:
    figure = Figure(figsize=(4, 3), layout="constrained")
    axis = figure.subplots()
    axis.plot([0.5], [0.5], "o")
    formula = "reward-greedy (inverted-trigger + 0.1 * accuracy + 0.05 * sparsity)"
    name_points(figure, axis, [(0.5, 0.5)], [formula])
    (text,) = axis.texts
    assert text.get_text() == formula[: LONGEST - 1] + "…"


def test_the_threshold_of_the_blocks_is_usual_beside_a_healing_that_prunes_nothing(
    tmp_path: Path,
) -> None:
    grid = (
        Block(("rare-word",), (0,), ("gradient", "random"), ("direct",), taus=(0.85,)),
        Block(("rare-word",), (0,), ("ft",), ("direct",), healing=("refit",)),
    )
    made_up(tmp_path, BenchmarkConfig(grid=grid, data="sst2"), lambda cell, _: (88.0, 50.0))
    assert read_results(tmp_path).usual_tau == 0.85
    report = write_report(tmp_path).read_text()
    assert "### Threshold" not in report
    assert "| gradient |" in report


def test_what_reads_no_reward_is_run_once_for_all_rewards() -> None:
    block = Block(
        ("rare-word",),
        (0,),
        ("gradient", "reward-greedy"),
        ("direct",),
        rewards=("inverted-trigger", "accuracy"),
    )
    cells = [
        (cell.policy, cell.search.reward)
        for cell in BenchmarkConfig(grid=(block,), data="sst2").cells()
        if cell.protocol != "none"
    ]
    assert cells == [
        ("gradient", "sparsity"),
        ("reward-greedy", "inverted-trigger"),
        ("reward-greedy", "accuracy"),
    ]


@pytest.mark.parametrize("taus", [(0.85,), (0.8, 0.9)])
def test_defences_of_the_benign_model_are_told_by_their_thresholds(
    tmp_path: Path, taus: tuple[float, ...]
) -> None:
    grid = (
        Block(
            ("rare-word",),
            (0,),
            ("gradient",),
            ("direct",),
            ("none",),
            ("backdoored", "benign"),
            taus,
        ),
    )
    made_up(tmp_path, BenchmarkConfig(grid=grid, data="sst2"), lambda cell, _: (88.0, 50.0))
    _, _, part = write_report(tmp_path).read_text().partition("### The same defences on the benign")
    part = part.partition("\n## ")[0]
    headings = [f"tau {tau:g}" for tau in taus] if len(taus) > 1 else []
    assert re.findall(r"tau [\d.]+", part) == headings
    assert part.count("| gradient") == len(taus)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    grid = (Block(("rare-word",), SEEDS, ("gradient", "layerwise-variance"), ("direct",)),)
    lfrs = {"gradient": 50.0, "benign": 30.0, "backdoored": 94.0}
    made_up(
        run,
        BenchmarkConfig(grid=grid, data="sst2"),
        lambda cell, _: (88.0, lfrs.get(cell.policy, 60.0) + cell.models.seed),
    )
    write_report(run)
    return run


def test_the_csv_has_means_and_deviations(folder: Path) -> None:
    with (folder / "tables" / "rare-word.csv").open(encoding="utf-8") as file:
        rows = {row["policy"]: row for row in csv.DictReader(file)}
    assert next(iter(rows)) == "benign"
    gradient = rows["gradient"]
    assert (gradient["protocol"], gradient["seeds"], gradient["defence"]) == ("direct", "3", "1")
    assert (float(gradient["LFR"]), float(gradient["LFR, sd"])) == (51.0, 1.0)
    assert float(gradient["ACC"]) == 88.0
    assert rows["backdoored"]["defence"] == "0"


def test_the_latex_is_the_same_table(folder: Path) -> None:
    text = (folder / "tables" / "rare-word.tex").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert columns is not None
    assert {row.count(" & ") + 1 for row in rows} == {len(columns[1])}
    gradient = next(row for row in rows if row.startswith("gradient"))
    assert r"$51.0 \pm 1.0$" in gradient
    assert text.count("{") == text.count("}")


def test_the_report_links_to_both(folder: Path) -> None:
    text = (folder / "report.md").read_text("utf-8")
    for name in ("tables/rare-word.csv", "tables/rare-word.tex"):
        assert f"]({name})" in text
        assert (folder / name).is_file()


def test_attacks_of_nearly_one_name_have_files_of_their_own(tmp_path: Path) -> None:
    names = ("mine", "mine-", "Mine")
    attacks = tuple(AttackFiles(name, "poisoned.tsv", "triggered.tsv") for name in names)
    grid = (Block(names, (0,), ("gradient",), ("direct",)),)
    made_up(
        tmp_path,
        BenchmarkConfig(grid=grid, data="sst2", attacks=attacks),
        lambda cell, _: (88.0, 10.0 * (1 + names.index(cell.models.attack.attack))),
    )
    text = write_report(tmp_path).read_text("utf-8")
    links = re.findall(r"\[csv\]\((tables/.*?\.csv)\)", text)
    assert len({link.lower() for link in links}) == len(names)
    lfrs = []
    for link in links:
        with (tmp_path / link).open(encoding="utf-8") as file:
            lfrs.append({float(row["LFR"]) for row in csv.DictReader(file)})
    assert lfrs == [{10.0}, {20.0}, {30.0}]
    pictures = re.findall(r"\((figures/heads-.*?\.png)\)", text)
    assert len({picture.lower() for picture in pictures}) == len(names)
