import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from prune_env.cli import main
from prune_env.errors import StateError
from prune_env.research.benchmark import figures, pictures
from prune_env.research.benchmark.config import BenchmarkConfig, Block
from prune_env.research.benchmark.plan import PLAN
from prune_env.research.benchmark.record import CellRecord
from prune_env.research.benchmark.report import write_report
from prune_env.research.benchmark.results import read_results
from prune_env.research.benchmark.summary import CellOutcome, Line, best
from prune_env.settings import SearchSettings
from prune_env.utils.files import read_json, write_json
from tests.research.benchmark.support import made_up

ATTACKS = ("hiddenkiller", "stylebkd-poetry")
SEEDS = (0, 1, 2)
CONFIG = BenchmarkConfig(
    grid=(
        Block(ATTACKS, SEEDS, ("gradient", "random", "greedy", "pure", "oracle")),
        Block(ATTACKS[:1], SEEDS, ("gradient",), ("direct",), targets=("benign",)),
        Block(ATTACKS[:1], SEEDS, ("gradient",), ("direct",), healing=("head", "full")),
        Block(ATTACKS[:1], (0,), ("gradient",), variants=("released",)),
        Block(ATTACKS[:1], (0,), ("gradient", "random"), taus=(0.8, 0.82)),
        Block(("stylebkd-bible",), (0,), ("gradient",)),
    ),
    data="sst2",
    search=SearchSettings(tau=0.85, prune_step=6),
)


def figures_of(levels: dict[str, float], noise: float):
    def figures(cell, random: np.random.Generator) -> tuple[float, float]:
        lfr = levels.get(cell.policy, 65.0) + noise * random.normal()
        return 88 + 0.3 * random.normal(), min(lfr, 97.0)  # its interval ends 3 points above it

    return figures


LEVELS = {"benign": 30.0, "backdoored": 94.0, "random": 45.0, "greedy": 55.0, "oracle": 18.0}


SMALL = replace(CONFIG, grid=(Block(ATTACKS[:1], (0,), ("gradient",)),))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out of a report of which the text is read."""
    monkeypatch.setattr(pictures, "acc_against_lfr", lambda *_: None)
    for name in ("cls_maps", "pruned_heads", "lfr_against_tau", "cost"):
        monkeypatch.setattr(figures, name, lambda *_: None)


def direct(folder: Path) -> list:
    results = read_results(folder)
    return results.lines(
        lambda each: (
            each.attack == "hiddenkiller"
            and each.cell.protocol in ("none", "direct")
            and each.cell.target == "backdoored"
            and each.cell.healing == "none"
            and each.cell.search.tau in (0.85, None)
            and each.cell.search.variant == "paper"
        )
    )


@pytest.mark.parametrize(
    ("levels", "noise", "expected"),
    [
        (LEVELS, 0.1, "random"),
        ({**LEVELS, "greedy": 46.0}, 0.1, None),  # a point is less than the test set can tell
        (LEVELS, 12.0, None),  # and so is a gap within the spread of seeds
    ],
)
def test_only_what_beats_the_next_by_more_than_noise_is_best(
    tmp_path: Path, levels: dict[str, float], noise: float, expected: str | None
) -> None:
    made_up(tmp_path, CONFIG, figures_of(levels, noise))
    found = best(direct(tmp_path), "excess_lfr_calibrated")
    assert (found and found.policy) == expected  # the oracle is lower, but no defence


def test_an_agent_that_learned_from_the_trigger_is_a_ceiling_and_not_the_best(
    tmp_path: Path, undrawn: None
) -> None:
    made_up(tmp_path, CONFIG, figures_of(LEVELS, 0.1))
    for cell in read_results(tmp_path).done:
        if cell.cell.policy == "random":
            path = tmp_path / "cells" / f"{cell.key}.json"
            value = read_json(path)
            value["found"]["agent"] = {"algorithm": "ppo", "oracle": True}
            write_json(path, value)
    found = best(direct(tmp_path), "excess_lfr_calibrated")
    assert found.policy == "greedy"
    text = write_report(tmp_path).read_text()
    assert "| *random, ceiling* | direct " in text
    assert "| random | direct " not in text


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_what_rounds_to_nothing_has_no_sign(
    tmp_path: Path, undrawn: None, seeds: tuple[int, ...]
) -> None:
    config = replace(CONFIG, grid=(Block(ATTACKS[:1], seeds, ("gradient",)),))
    made_up(tmp_path, config, lambda *_: (88.0, 29.97))  # the floor is 30
    report = write_report(tmp_path)
    latex = next((tmp_path / "tables").glob("*.tex"))
    for file in (report, latex):
        text = file.read_text()
        assert not re.search(r"-0\.0(?!\d)", text)
        assert re.search(r"[ $]0\.0 ?(±|\\pm|\$|\|)", text)


def test_a_line_is_the_mean_and_spread_over_seeds(tmp_path: Path) -> None:
    lfrs = {0: 60.0, 1: 63.0, 2: 66.0}
    made_up(tmp_path, CONFIG, lambda cell, _: (88.0, lfrs[cell.models.seed]))
    line = next(line for line in direct(tmp_path) if line.policy == "gradient")
    assert (line.mean("lfr"), line.spread("lfr")) == (63.0, 3.0)
    assert len(line.cells) == 3


def test_the_report_has_every_table_and_figure_and_hides_nothing(tmp_path: Path) -> None:
    made_up(
        tmp_path,
        CONFIG,
        figures_of(LEVELS, 0.5),
        failed=lambda cell: cell.policy == "pure",
        missing=lambda cell: cell.models.attack.attack == "stylebkd-bible",
    )
    assert main(["report", str(tmp_path), "--json"]) == 0
    text = (tmp_path / "report.md").read_text()
    hidden_killer = text.partition("## hiddenkiller")[2].partition("## stylebkd-poetry")[0]
    titles = [line[4:] for line in hidden_killer.splitlines() if line.startswith("### ")]
    assert titles == [
        "Protocol direct",
        "Protocol refinetune",
        "What the published code does",
        "Threshold",
        "The same defences on the benign model",
    ]
    pure = next(line for line in hidden_killer.splitlines() if line.startswith("| pure | direct "))
    assert pure.count("failed") == 8
    assert "3 failed" in pure
    assert "| gradient | direct, heal full " in hidden_killer.partition("### Protocol refine")[0]
    assert "**45." in hidden_killer
    assert "*oracle, ceiling*" in hidden_killer
    assert "stylebkd-bible, seed 0, gradient, direct" in text.partition("## Not run")[2]
    named = {part.partition(")")[0] for part in text.split("](")[1:]}
    drawn = {f"figures/{path.name}" for path in (tmp_path / "figures").glob("*.png")}
    tables = {f"tables/{path.name}" for path in (tmp_path / "tables").iterdir()}
    assert named == drawn | tables
    assert len(drawn) == 4 + 3 + 1


def test_what_unlearns_without_pruning_stands_in_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped: list[str] = []
    monkeypatch.setattr(figures, "cls_maps", lambda _, models, title: mapped.extend(models))
    unlearned = Block(ATTACKS[:1], SEEDS, ("ft",), ("direct",), healing=("unlearn",))
    made_up(
        tmp_path,
        replace(CONFIG, grid=(Block(ATTACKS[:1], SEEDS, ("gradient",), ("direct",)), unlearned)),
        figures_of({**LEVELS, "gradient": 50.0}, 0.5),
    )
    text = write_report(tmp_path).read_text()
    assert "| ft | direct, heal unlearn | " in text
    shown = [title.partition(", seed")[0] for title in mapped]
    assert shown == ["backdoored", "ft", "gradient (direct)"]


@pytest.mark.usefixtures("undrawn")
def test_the_report_tells_every_code_and_all_versions_that_made_the_cells(tmp_path: Path) -> None:
    made_up(tmp_path, SMALL, figures_of(LEVELS, 0.5))
    old, exported, nameless, *others = sorted((tmp_path / "cells").glob("*.json"))

    def change(path: Path, commit: str, source: str | None, torch: str) -> None:
        value = read_json(path)
        value["meta"] = {**value["meta"], "commit": commit, "source": source}
        if source is None:  # as cells were before they had one
            del value["meta"]["source"]
        value["meta"]["versions"] = {"python": "3.11.7", "torch": torch}
        write_json(path, value)

    change(old, "0123456789ab", None, "2.13.0")
    change(exported, "", "ba9876543210", "2.13.0")
    change(nameless, "", None, "2.14.0")
    for path in others:
        change(path, "0123456789ab", "ba9876543210", "2.13.0")
    setting = write_report(tmp_path).read_text().partition("## Setting")[2]
    assert "- commit: 0123456789ab, source ba9876543210, unknown\n" in setting
    versions = next(line for line in setting.splitlines() if line.startswith("- versions: "))
    assert set(versions.removeprefix("- versions: ").split("; ")) == {
        "python 3.11.7, torch 2.13.0",
        "python 3.11.7, torch 2.14.0",
    }


@pytest.mark.usefixtures("undrawn")
def test_the_report_counts_the_rows_of_the_data(tmp_path: Path) -> None:
    made_up(tmp_path, SMALL, figures_of(LEVELS, 0.5))
    plan = read_json(tmp_path / PLAN)
    assert "\n- rows: " not in write_report(tmp_path).read_text()  # of an earlier release
    for drawn, told in ((0, "6,920"), (1600, "1,600 of 6,920"), (9000, "6,920")):
        plan["rows"] = {"train": 6920, "validation": 872, "test": 1821}
        plan["config"]["models"]["train_sentences"] = drawn
        write_json(tmp_path / PLAN, plan)
        counted = f"- rows: {told} to train on, 872 for validation, 1,821 for the test\n"
        assert counted in write_report(tmp_path).read_text()


@pytest.mark.usefixtures("undrawn")
def test_excess_is_told_against_the_benign_model_under_the_same_defence(tmp_path: Path) -> None:
    lfrs = {"backdoored": 50.0, "benign": 33.0}

    def lfr(cell, _) -> tuple[float, float]:
        return 88.0, {"benign": 30.0, "backdoored": 94.0}.get(
            cell.policy, lfrs[cell.target] + cell.models.seed
        )

    made_up(tmp_path, CONFIG, lfr, missing=lambda cell: cell.models.seed == 2)
    lines = {line.policy: line for line in direct(tmp_path)}
    name = "excess_over_treated_benign"
    assert lines["gradient"].values(name) == {0: 17.0, 1: 17.0}
    assert lines["backdoored"].mean(name) == 64.0  # without a defence, the floor as it is
    assert lines["random"].values(name) == {}  # was not tried on the benign model
    text = write_report(tmp_path).read_text()
    with_it, without = text.partition("## stylebkd-poetry")[::2]
    row = next(row for row in with_it.splitlines() if row.startswith("| gradient | direct | "))
    assert "| 17.0 ± 0.0 |" in row
    assert "| excess cal, treated |" in with_it
    assert "| excess cal, treated |" not in without
    benign = text.partition("on the benign model\n")[2].partition("## stylebkd")[0]
    assert "| excess cal, treated |" not in benign


def test_a_folder_without_a_benchmark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError):
        write_report(tmp_path)


PLANS = {
    "no plan": lambda plan: plan.clear(),
    "cells of numbers": lambda plan: plan.update(cells=3),
    "a cell that is no table": lambda plan: plan["cells"].append(3),
    "a cell without a key": lambda plan: plan["cells"][0].pop("key"),
    "a cell with more": lambda plan: plan["cells"][0].update(nonsense=1),
    "a cell without its models": lambda plan: plan["cells"][0]["cell"].pop("models"),
    "a key that leads elsewhere": lambda plan: plan["cells"][0].update(key="../../../secret"),
    "a key of another kind": lambda plan: plan["cells"][0].update(key=["x"]),
    "a grid that is no table": lambda plan: plan.update(config=[1]),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_of_another_shape_is_refused(tmp_path: Path, name: str) -> None:
    made_up(tmp_path, SMALL, figures_of(LEVELS, 0.5))
    plan = json.loads((tmp_path / PLAN).read_text())
    PLANS[name](plan)
    (tmp_path / PLAN).write_text(json.dumps(plan))
    assert main(["report", str(tmp_path)]) == 2


RESULTS = {
    "nothing": lambda result: result.clear(),
    "done without a row": lambda result: result.pop("row"),
    "a row that is none": lambda result: result.update(row=[1]),
    "a row without its seed": lambda result: result["row"].pop("seed"),
    "failed without an error": lambda result: result.update(status="failed"),
    "another status": lambda result: result.update(status=["done"]),
    "no number": lambda result: result["row"].update(acc=float("nan")),
    "an infinite number": lambda result: result["row"].update(lfr=1e308),
    "no interval": lambda result: result["row"].update(acc_interval=[1e308, 1e308]),
    "endless time": lambda result: result["row"].update(seconds=float("inf")),
    "heads that are none": lambda result: result["row"].update(heads_pruned=10**30),
    "no masks": lambda result: result.update(found={"masks": [1]}),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_of_another_shape_is_refused(tmp_path: Path, name: str) -> None:
    made_up(tmp_path, SMALL, figures_of(LEVELS, 0.5))
    path = next(path for path in (tmp_path / "cells").iterdir() if '"done"' in path.read_text())
    result = json.loads(path.read_text())
    RESULTS[name](result)
    path.write_text(json.dumps(result))
    assert main(["report", str(tmp_path)]) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"clean_target": np.zeros(3)},
        {"clean_target": np.zeros((3, 5))},
        {"clean_target": np.full((3, 16), np.nan)},
        {"other": np.zeros((3, 16))},
    ],
    ids=str,
)
def test_a_report_does_without_vectors_of_another_shape(
    tmp_path: Path, change: dict[str, np.ndarray], capsys: pytest.CaptureFixture
) -> None:
    made_up(tmp_path, SMALL, figures_of(LEVELS, 0.5))
    assert main(["report", str(tmp_path)]) == 0
    assert "t-SNE" in (tmp_path / "report.md").read_text()
    for path in (tmp_path / "embeddings").iterdir():
        np.savez(path, **{**np.load(path), **change})
    capsys.readouterr()
    assert main(["report", str(tmp_path)]) == 0
    assert "has not the shape of vectors" in " ".join(capsys.readouterr().err.split())
    report = (tmp_path / "report.md").read_text()
    assert "t-SNE" not in report
    assert "## " in report


@pytest.mark.parametrize("part", ["tables", "figures"])
def test_a_file_where_a_report_writes_a_folder_is_named(
    part: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    made_up(tmp_path, SMALL, figures_of(LEVELS, 0.5))
    (tmp_path / part).touch()
    assert main(["report", str(tmp_path)]) == 2
    assert f"{part} is a file. Expected: a folder" in " ".join(capsys.readouterr().err.split())


def test_a_report_on_nothing_says_so(tmp_path: Path) -> None:
    made_up(tmp_path, SMALL, figures_of(LEVELS, 0.5), missing=lambda cell: True)
    with pytest.raises(StateError, match=r"No cell.*`prune-env benchmark` with this --out again"):
        write_report(tmp_path)


ONE = ("rare-word",)
GRIDS = {
    "one threshold, of the block": ((Block(ONE, (0,), ("gradient", "random"), taus=(0.8,)),), None),
    "no policy but ft": ((Block(ONE, (0,), ("ft",)),), None),
    "healed at another threshold": (
        (Block(ONE, (0,), ("gradient",), taus=(0.8, 0.85), healing=("none", "unlearn")),),
        0.85,
    ),
    "ft healed, the others at a threshold": (
        (Block(ONE, (0,), ("ft", "gradient"), taus=(0.8,), healing=("none", "unlearn")),),
        None,
    ),
    "released and benign, other threshold": (
        (
            Block(ONE, (0,), ("gradient",), taus=(0.8,), variants=("paper", "released")),
            Block(ONE, (0,), ("gradient",), targets=("benign",), taus=(0.7,)),
        ),
        0.85,
    ),
    "two rates": (
        tuple(Block(ONE, (0,), ("gradient",), rate=rate) for rate in (0.01, 0.3)),
        None,
    ),
}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", GRIDS)
def test_every_cell_that_is_done_stands_in_a_table_and_in_the_csv(
    tmp_path: Path, name: str
) -> None:
    grid, tau = GRIDS[name]
    config = BenchmarkConfig(grid=grid, data="sst2", search=SearchSettings(tau=tau))
    accuracies = {cell: 20 + 1.1 * number for number, cell in enumerate(config.cells())}
    made_up(tmp_path, config, lambda cell, _: (accuracies[cell], 50.0))
    text = write_report(tmp_path).read_text()
    csv = "".join(path.read_text() for path in (tmp_path / "tables").glob("*.csv"))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for cell, accuracy in accuracies.items():
        assert any(f"| {accuracy:.1f} |" in row for row in rows), cell
        assert f",{accuracy:.4f}," in csv, cell


@pytest.mark.usefixtures("undrawn")
def test_rates_of_one_attack_are_attacks_of_their_own(tmp_path: Path) -> None:
    grid, _ = GRIDS["two rates"]
    made_up(tmp_path, BenchmarkConfig(grid=grid, data="sst2"), lambda *_: (80.0, 50.0))
    text = write_report(tmp_path).read_text()
    titles = [line[3:] for line in text.splitlines() if line.startswith("## rare")]
    assert titles == ["rare-word, rate 0.01", "rare-word, rate 0.3"]
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {
        f"rare-word-rate-{rate}.{kind}" for rate in ("0.01", "0.3") for kind in ("csv", "tex")
    }


@pytest.mark.usefixtures("undrawn")
def test_a_report_writes_nothing_outside_its_folder(tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "a" / "run", tmp_path / "elsewhere"
    made_up(run, SMALL, figures_of(LEVELS, 0.0))
    plan = (run / PLAN).read_text()
    (run / PLAN).write_text(plan.replace('"hiddenkiller"', '"../../evil"'))
    before = {path for path in tmp_path.rglob("*") if run not in path.parents}
    write_report(run)
    assert {path for path in tmp_path.rglob("*") if run not in path.parents} == before
    elsewhere.mkdir()
    shutil.rmtree(run / "tables")
    (run / "tables").symlink_to(elsewhere)
    with pytest.raises(StateError, match="is a link"):
        write_report(run)
    assert not list(elsewhere.iterdir())


def test_a_figure_takes_the_place_of_a_link(tmp_path: Path) -> None:
    made_up(tmp_path, SMALL, figures_of(LEVELS, 0.0))
    (tmp_path / "figures").mkdir()
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    (tmp_path / "figures" / "cost.png").symlink_to(victim)
    write_report(tmp_path)
    assert victim.read_text() == "mine"
    assert (tmp_path / "figures" / "cost.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("undrawn")
def test_names_of_strangers_do_nothing_in_a_report(tmp_path: Path) -> None:
    evil = "<img src=x> ![e](http://evil) \x1b[31m"
    models = replace(SMALL.models, model=evil)
    made_up(tmp_path, replace(SMALL, title=evil, models=models), figures_of(LEVELS, 0.0))
    for path in (tmp_path / "cells").glob("*.json"):
        value = read_json(path)
        if value["cell"]["policy"] == "gradient":
            value |= {"status": "failed", "error": evil}
            write_json(path, value)
    text = write_report(tmp_path).read_text()
    assert "evil" in text
    assert not any(mark in text for mark in ("<img", "![e]", "\x1b"))


def line_of(policy: str, lfrs: tuple[float, ...], half: float = 0.1, acc: float = 0.1) -> Line:
    """Return a defence with these LFRs by seed, and half the intervals of LFR and ACC."""
    cells = []
    for seed, lfr in enumerate(lfrs):
        row = SimpleNamespace(
            acc=90 - lfr,
            acc_interval=(90 - lfr - acc, 90 - lfr + acc),
            acc_calibrated_interval=None,
            lfr_calibrated=lfr,
            lfr_interval=(0.0, 0.1),  # that of another share
            lfr_calibrated_interval=(lfr - half, lfr + half),
        )
        cell = SimpleNamespace(policy=policy, models=SimpleNamespace(seed=seed))
        benign = SimpleNamespace(lfr_calibrated=5.0, lfr_interval=None)
        benign.lfr_calibrated_interval = (5.0, 5.0)
        benign.acc_interval = benign.acc_calibrated_interval = None
        cells.append(CellOutcome(policy, policy, cell, CellRecord(row), benign))
    return Line(tuple(cells))


@pytest.mark.parametrize("name", ["lfr_calibrated", "excess_over_treated_benign", "acc"])
def test_the_best_has_the_lower_lfr_and_the_higher_accuracy(name: str) -> None:
    lines = [line_of("greedy", (20.0, 21.0, 22.0)), line_of("random", (10.0, 11.0, 12.5))]
    assert best(lines, name) is lines[1]
    assert best([lines[1], line_of("pure", (10.0, 11.0, 12.5))], name) is None


@pytest.mark.parametrize(
    ("first", "other", "expected"), [(1.0, 1.0, "a"), (3.0, 0.1, None), (0.1, 3.0, None)]
)
def test_what_either_test_set_cannot_tell_apart_is_noise(
    first: float, other: float, expected: str | None
) -> None:
    lines = [line_of("a", (10.0, 10.5), first, 0.0), line_of("b", (12.0, 12.5), other, 0.0)]
    found = best(lines, "lfr_calibrated")
    assert (found and found.cell.policy) == expected
    assert best(lines, "acc") is lines[0]  # whose intervals are its own


def test_the_noise_of_a_calibrated_figure_is_its_own() -> None:
    row = SimpleNamespace(acc_interval=(80.0, 90.0), acc_calibrated_interval=(70.0, 90.0))
    row.lfr_interval, row.lfr_calibrated_interval = (0.0, 1.0), (40.0, 46.0)
    cell = CellOutcome("a", "a", SimpleNamespace(), CellRecord(row))
    names = ("acc", "acc_calibrated", "lfr", "excess_lfr", "lfr_calibrated")
    errors = [cell.sampling_error(name) for name in (*names, "excess_lfr_calibrated")]
    assert errors == [5.0, 10.0, 0.5, 0.5, 3.0, 3.0]
    row.lfr_calibrated_interval = None  # as in results of before
    assert cell.sampling_error("lfr_calibrated") == 0.5


def test_a_gap_that_two_seeds_contradict_is_chance() -> None:
    lines = [line_of("a", (1.0, 20.0, 10.0)), line_of("b", (20.0, 12.0, 12.0))]
    assert best(lines, "lfr_calibrated") is None
