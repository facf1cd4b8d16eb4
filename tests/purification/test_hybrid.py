"""Purifying by masks of heads, groups of neurons and strengths of maps."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from prune_env import purify
from prune_env.agents.shipped import CARRIED_OVER
from prune_env.agents.train_settings import TrainSettings
from prune_env.agents.training import train
from prune_env.data.dataset import write_jsonl
from prune_env.errors import SettingsError, StateError
from prune_env.evaluation import MaskEvaluator
from prune_env.models import find_heads, load_classifier, load_mask, save_mask
from prune_env.models.masks import Mask, oracle_mark_of
from prune_env.models.unit_map import UnitMap, measure_units
from prune_env.models.unit_masks import parse_unit_mask, save_unit_mask
from prune_env.settings import SearchSettings, UnitSettings
from prune_env.utils.files import read_json
from tests.cli.support import FAST, run
from tests.support import tiny_dataset, write_tiny_folder

# Of 100 rows and more, a random model would be refused.
TRAIN, VALIDATION = tiny_dataset(36, 0), tiny_dataset(60, 1)
SEARCH = SearchSettings(max_drop=0.2, budget=40, guard="accuracy")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_folder(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def purified(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("purified") / "out"
    report = purify(
        source, TRAIN, VALIDATION, out, policy="greedy", search_settings=SEARCH, units="hybrid"
    )
    return out, report


def test_the_written_model_is_the_one_under_the_mask(
    purified: tuple[Path, dict[str, Any]],
) -> None:
    out, report = purified
    result = report["result"]
    assert report["run"]["units"] == "hybrid"
    assert result["heads_pruned"] == result["units_pruned"]["head"]
    assert sum(result["units_pruned"].values()) > result["heads_pruned"]
    assert result["keeps_tau"]
    loaded = load_classifier(out, head="keep")
    evaluator = MaskEvaluator(loaded.model, loaded.tokenizer, VALIDATION)
    accuracy = evaluator.accuracy(evaluator.available[None])[0]
    assert accuracy == result["validation_accuracy_under_mask"]
    assert "neurons: pruned" in (out / "README.md").read_text()


def test_its_mask_is_applied_again(
    source: Path, purified: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, report = purified
    told = json.loads((out / "mask.json").read_text())
    assert told["version"] == 2
    again = purify(
        source,
        TRAIN,
        VALIDATION,
        tmp_path / "again",
        mask=out / "mask.json",
        search_settings=SEARCH,
        units="hybrid",
    )
    assert again["result"]["units_pruned"] == report["result"]["units_pruned"]
    first, second = (load_file(each / "model.safetensors") for each in (out, tmp_path / "again"))
    assert all((first[name] == second[name]).all() for name in first)
    with pytest.raises(StateError, match="heads, neurons and maps"):
        load_mask(out / "mask.json")


def load_units(path: Path, unit_map: UnitMap) -> Mask:
    return parse_unit_mask(read_json(path), path, unit_map)


def test_a_mask_keeps_its_units_in_a_file(source: Path, tmp_path: Path) -> None:
    loaded = load_classifier(source)
    unit_map = measure_units(loaded, TRAIN, UnitSettings(groups=3, steps=2))
    units = unit_map.units
    random = np.random.default_rng(0)
    for number in range(5):
        mask = units.in_order(random.random(units.shape) < 0.6)
        save_unit_mask(tmp_path / f"{number}.json", mask, unit_map, source="x")
        assert (load_units(tmp_path / f"{number}.json", unit_map) == mask).all()
    other = measure_units(loaded, TRAIN, UnitSettings(groups=2, steps=2))
    with pytest.raises(SettingsError, match="other units"):
        load_units(tmp_path / "0.json", other)
    heads = np.ones((2, 4), bool)
    heads[1, 2] = False
    save_mask(tmp_path / "heads.json", heads)
    wide = load_units(tmp_path / "heads.json", unit_map)
    assert (units.head_part(wide) == heads).all()
    assert wide[:, units.heads :].all()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("neurons", {"0": [7]}),
        ("neurons", {"9": [0]}),
        ("neurons", {"x": [0]}),
        ("neurons", {"0": [True]}),
        ("maps", {"0": {"0": 3}}),
        ("maps", {"0": {"5": 1}}),
        ("maps", [1]),
        ("neurons", None),
    ],
)
def test_damaged_files_are_told(source: Path, tmp_path: Path, key: str, value: Any) -> None:
    unit_map = measure_units(load_classifier(source), TRAIN, UnitSettings(groups=3, steps=2))
    path = tmp_path / "mask.json"
    save_unit_mask(path, unit_map.units.available, unit_map)
    content = json.loads(path.read_text())
    content["units"][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(StateError, match="not a mask file of units"):
        load_units(path, unit_map)


@pytest.mark.parametrize(
    "asked", [{"healing": "refit"}, {"protocol": "refinetune"}, {"policy": "random-ensemble"}]
)
def test_what_units_do_not_go_with_is_refused(
    source: Path, tmp_path: Path, asked: dict[str, Any]
) -> None:
    with pytest.raises(SettingsError, match="written into the model as it is"):
        purify(source, TRAIN, VALIDATION, tmp_path / "out", units="hybrid", **asked)
    assert not (tmp_path / "out").exists()


def test_from_the_command_line(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(tmp_path / "clean.jsonl", tiny_dataset(90))
    asked = ["purify", source, "--data", tmp_path / "clean.jsonl", "--out", tmp_path / "out"]
    assert run(*asked, "--units", "hybrid", "--policy", "random", *FAST) == 0
    assert "groups of neurons closed" in capsys.readouterr().out


def test_a_shipped_agent_is_the_one_for_units(source: Path, tmp_path: Path) -> None:
    shared: dict[str, Any] = {"policy": "carried-over", "search_settings": SEARCH}
    by_units = purify(source, TRAIN, VALIDATION, tmp_path / "a", units="hybrid", **shared)
    by_heads = purify(source, TRAIN, VALIDATION, tmp_path / "b", healing="none", **shared)
    assert by_units["run"]["agent"]["sha256"] != by_heads["run"]["agent"]["sha256"]
    assert by_heads["run"]["agent"] == CARRIED_OVER.identity


def test_what_an_agent_learned_on_units_purifies(source: Path, tmp_path: Path) -> None:
    """Its best mask is a file of units, and the agent itself plays them."""
    data = tmp_path / "data"
    data.mkdir()
    for part, texts in (("train", TRAIN), ("validation", VALIDATION), ("test", VALIDATION)):
        write_jsonl(data / f"{part}.jsonl", texts)
    settings = TrainSettings(
        algorithm="epsilon-greedy",
        env="prune_env/HybridPruning-v0",
        env_arguments={"model": str(source), "data": str(data), "tau": 0.2},
        total_steps=80,
        save_every=40,
        test_every=4,
    )
    trained = train(settings, tmp_path / "run")
    met = trained.report["best_met"]
    assert met["heads_pruned"] == met["units_pruned"]["head"]
    shared: dict[str, Any] = {"units": "hybrid", "search_settings": SEARCH}
    by_mask = purify(
        source, TRAIN, VALIDATION, tmp_path / "a", mask=tmp_path / "run" / "best_met.json", **shared
    )
    assert by_mask["result"]["units_pruned"] == met["units_pruned"]
    by_agent = purify(
        source, TRAIN, VALIDATION, tmp_path / "b", policy=str(tmp_path / "run" / "best"), **shared
    )
    assert by_agent["result"]["keeps_tau"]


def test_the_mark_of_a_mask_that_the_trigger_chose_stays_with_it(
    source: Path, tmp_path: Path
) -> None:
    """Whatever form the model is written in, and whatever the mask then chooses from."""
    mask = find_heads(load_classifier(source, num_labels=2).model).available.copy()
    mask[0, 0] = False
    save_mask(tmp_path / "mask.json", mask, oracle=True)
    shared: dict[str, Any] = {"search_settings": replace(SEARCH, max_drop=0.9)}
    given = tmp_path / "mask.json"
    for name, how in (
        ("sliced", {"export": "sliced", "healing": "none"}),
        ("units", {"units": "hybrid"}),
        ("units again", {"units": "hybrid"}),
    ):
        report = purify(source, TRAIN, VALIDATION, tmp_path / name, mask=given, **shared, **how)
        assert report["run"]["agent"] == {"oracle": True}
        if name != "sliced":
            given = tmp_path / name / "mask.json"
        assert oracle_mark_of(read_json(tmp_path / name / "mask.json")) == {"oracle": True}
