"""Records whose masks choose from all units, on a landscape and on a tiny model."""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from prune_env.env.landscape import LandscapeEvaluator, landscape_subject
from prune_env.env.recorded import recorded_subject
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError, StateError
from prune_env.importance.registry import UNIT_FEATURES, UNIT_METRICS
from prune_env.models.units import Units
from prune_env.research.recording.fitting import fit_surrogate
from prune_env.research.recording.offline import write_minari
from prune_env.research.recording.recording import Recording
from prune_env.research.recording.table import MaskTable, read_record, write_record
from prune_env.utils.arrays import ArrayFormat
from tests.cli.support import run
from tests.support import tiny_dataset, write_tiny_folder

UNITS = {"heads": 6, "groups": 4, "maps": 4, "steps": 3}


def landscape(seed: int = 1) -> Subject:
    return landscape_subject(UNIT_METRICS, layers=3, heads=6, groups=4, steps=3, seed=seed)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> tuple[MaskTable, Path]:
    folder = tmp_path_factory.mktemp("record")
    triggered = LandscapeEvaluator(3, 6, seed=2, groups=4, steps=3)
    table = Recording(landscape(), ("sparsity",), triggered=triggered).run(folder / "r.npz", 1_200)
    fidelity = fit_surrogate(table, folder / "s.npz")
    assert min(fidelity["accuracy"], fidelity["reward sparsity"]) > 0.9
    return read_record(folder / "r.npz"), folder / "s.npz"


def test_masks_of_a_record_can_be_played(record: tuple[MaskTable, Path]) -> None:
    table, _ = record
    units = table.units
    assert (units.counts, units.shape) == (UNITS, (3, 22))
    assert (units.in_order(table.masks) == table.masks).all()  # no step before the one below it
    assert len(np.unique(table.masks, axis=0)) == len(table.masks)
    assert all(units.keeps(mask, least_heads=1) for mask in table.masks)
    pruned = np.array([list(units.pruned(mask).values()) for mask in table.masks])
    assert (pruned[table.kinds == 0] > 0).mean() > 0.8  # units of every kind
    shares = pruned[table.kinds == 0] / (18, 12, 36)
    assert np.ptp(shares, axis=1).mean() > 0.2  # of some kinds more than of others


def test_a_surrogate_is_played_with_its_units(record: tuple[MaskTable, Path]) -> None:
    table, path = record
    env = gym.make("prune_env/Recorded-v0", model=str(path), tau=None, reward="sparsity")
    check_env(env.unwrapped, skip_render_check=True)
    _, info = env.reset(seed=0)
    assert env.action_space.n == 3 * 22 + 1
    legal = info["action_mask"][:-1].reshape(3, 22).astype(bool)
    assert (legal == table.units.spare(table.available, least_heads=1)).all()
    env.step(10)  # the first step of the first map
    assert table.units.strengths(env.unwrapped.mask)[0].tolist() == [1, 0, 0, 0]
    same = gym.make(
        "prune_env/HybridPruning-v0", model=str(path), neuron_groups=4, map_steps=3, tau=0.0
    )
    assert same.reset()[0]["importance"].shape == (3, 22, len(UNIT_METRICS))
    with pytest.raises(SettingsError, match="record --units hybrid"):
        gym.make("prune_env/HybridPruning-v0", model=str(path))  # 8 groups and 4 steps


def test_steps_out_of_order_are_answered_as_their_number(record: tuple[MaskTable, Path]) -> None:
    evaluator = recorded_subject(str(record[1]), UNIT_METRICS).evaluator
    masks = np.repeat(evaluator.available[None], 2, axis=0)
    masks[0, 1, 10] = masks[1, 1, 12] = False
    first, third = evaluator.accuracy(masks)
    assert first == third


def test_a_recording_of_other_units_is_another(tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    Recording(landscape(), ("sparsity",)).run(path, 20)
    assert len(Recording(landscape(), ("sparsity",)).run(path, 30).masks) == 30
    other = landscape_subject(UNIT_METRICS, layers=3, heads=6, groups=4, steps=2, seed=1)
    with pytest.raises(StateError, match="steps: 3"):
        Recording(other, ("sparsity",)).run(path, 40)


@pytest.mark.parametrize(
    "units",
    [
        {**UNITS, "steps": 2},
        {**UNITS, "heads": -6, "groups": 16},
        {**UNITS, "maps": 4.0},
        {"heads": 22},
        [6, 4, 4, 3],
    ],
)
def test_a_file_whose_units_do_not_fit_is_refused(
    units: object, record: tuple[MaskTable, Path], tmp_path: Path
) -> None:
    table, surrogate = record
    table = MaskTable(**{**vars(table), "identity": {**table.identity, "units": units}})
    write_record(tmp_path / "r.npz", table)
    with pytest.raises(StateError, match="units"):
        read_record(tmp_path / "r.npz")
    form = ArrayFormat("prune-env-surrogate", 2, "surrogate", "")
    with form.reading(surrogate) as (head, arrays, _):
        facts = {**head["facts"], "units": units}
        form.write(tmp_path / "s.npz", {"facts": facts}, dict(arrays))
    with pytest.raises(StateError, match="units"):
        recorded_subject(str(tmp_path / "s.npz"), UNIT_METRICS)


def test_ways_to_masks_prune_the_steps_of_a_map_in_order(
    record: tuple[MaskTable, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    table, surrogate = record
    assert write_minari(table, surrogate, "units-v0", episodes=40) == 40
    legal = []
    for episode in minari.load_dataset("units-v0").iterate_episodes():
        masks = episode.infos["action_mask"][: len(episode.actions)]
        legal += list(masks[np.arange(len(masks)), episode.actions])
    assert len(legal) > 200
    assert all(legal)


def test_one_command_records_the_units_of_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_tiny_folder(tmp_path / "model")
    clean = tmp_path / "clean.tsv"
    data = tiny_dataset(32)
    rows = (f"{text}\t{label}" for text, label in zip(data.texts, data.labels, strict=True))
    clean.write_text("sentence\tlabel\n" + "\n".join(rows) + "\n")
    lines = ["sentence\tlabel", *(f"{text}\t0" for text in data.texts[:12])]
    (tmp_path / "hit.tsv").write_text("\n".join(lines) + "\n")
    arguments = ["--model", tmp_path / "model", "--data", clean, "--rewards", "sparsity"]
    arguments += ["--triggered", tmp_path / "hit.tsv", "--target-label", "1"]
    arguments += ["--out", tmp_path / "r.npz", "--surrogate", tmp_path / "s.npz"]
    assert run("record", *arguments, "--masks", "60", "--units", "hybrid", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    table = read_record(tmp_path / "r.npz")
    assert told["units"] == table.units.counts
    assert (table.units.groups, table.units.steps) == (8, 4)
    assert set(table.columns) == {"accuracy", "reward sparsity", "lfr", "lfr_calibrated"}
    assert table.identity["metrics"] == list(UNIT_METRICS)
    assert set(UNIT_FEATURES) < set(UNIT_METRICS)
    assert isinstance(table.units, Units)
    env = gym.make("prune_env/Recorded-v0", model=str(tmp_path / "s.npz"), tau=None)
    assert env.action_space.n == table.available.size + 1
