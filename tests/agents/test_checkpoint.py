"""Agents on disk survive faults, and foreign files are never opened."""

import json
import pickle
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prune_env.agents import load_agent
from prune_env.agents.checkpoint import (
    SAVE_SECONDS,
    Checkpoint,
    SaveTimes,
    _sha256_of_json,
    read_checkpoint,
    write_checkpoint,
)
from prune_env.cli import main
from prune_env.data.dataset import TextDataset, write_jsonl
from prune_env.errors import PruneEnvError, StateError


def _checkpoint(step: int) -> Checkpoint:
    return Checkpoint("dqn", step, {"note": step}, {"a": np.arange(step % 7 + 1)})


def test_comes_back_as_it_went(tmp_path: Path):
    write_checkpoint(tmp_path, _checkpoint(5))
    read = read_checkpoint(tmp_path)
    assert (read.algorithm, read.step, read.spec) == ("dqn", 5, {"note": 5})
    np.testing.assert_array_equal(read.tensors["a"], np.arange(6))


def test_what_was_just_written_stays_beside_later_steps(tmp_path: Path):
    for step in (30, 40, 4):
        write_checkpoint(tmp_path, _checkpoint(step))
    assert [path.stem for path in sorted(tmp_path.glob("*.json"))] == [
        f"{step:012d}" for step in (4, 30, 40)
    ]


def test_the_newest_two_stay(tmp_path: Path):
    for step in (1, 2, 30, 4):
        write_checkpoint(tmp_path, _checkpoint(step))
    assert read_checkpoint(tmp_path).step == 30
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{step:012d}.{end}" for step in (4, 30) for end in ("json", "safetensors")
    ]


@pytest.mark.parametrize("end", ["json", "safetensors"])
@pytest.mark.parametrize("fault", ["cut", "empty", "flipped", "gone"])
def test_walks_back_past_a_damaged_one(
    tmp_path: Path, end: str, fault: str, caplog: pytest.LogCaptureFixture
):
    write_checkpoint(tmp_path, _checkpoint(1))
    write_checkpoint(tmp_path, _checkpoint(2))
    path = tmp_path / f"{2:012d}.{end}"
    data = bytearray(path.read_bytes())
    if fault == "gone":
        path.unlink()
    else:
        where = data.index(b'"note": 2') + 8 if end == "json" else len(data) // 2
        flipped = data.copy()
        flipped[where] ^= 1  # 2 becomes 3: still JSON
        path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "flipped": flipped}[fault])
    assert read_checkpoint(tmp_path).step == 1
    # Without its JSON nothing tells that there was another.
    told = "An older checkpoint, 000000000001.json, is used" in caplog.text
    assert told == ((end, fault) != ("json", "gone"))


EDITS = {
    "a value": lambda head: head["spec"].update(note=3),
    "a value left out": lambda head: head["spec"].clear(),
    "the algorithm": lambda head: head.update(algorithm="gradient"),
    "the steps": lambda head: head.update(step=7),
    "the hash left out": lambda head: head.pop("spec_sha256"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_one_is_refused(tmp_path: Path, edit: str):
    write_checkpoint(tmp_path, _checkpoint(1))
    path = tmp_path / f"{1:012d}.json"
    head = json.loads(path.read_text())
    path.write_text(json.dumps(head))  # laid out anew, and equal
    assert read_checkpoint(tmp_path).step == 1
    EDITS[edit](head)
    path.write_text(json.dumps(head))
    with pytest.raises(StateError, match=r"000000000001\.json is damaged, or was edited by hand"):
        read_checkpoint(tmp_path)


def test_a_policy_that_learns_nothing_is_not_loaded(tmp_path: Path):
    write_checkpoint(tmp_path, replace(_checkpoint(1), algorithm="gradient"))
    with pytest.raises(StateError, match=r"unknown algorithm.*epsilon-greedy.*Actual: gradient"):
        load_agent(tmp_path)


def _whole(spec: dict[str, object], algorithm: str) -> dict[str, object]:
    """Return what stands in a specification of this algorithm, changed."""
    record = {"steps": 5, "episodes": 1}
    whole: dict[str, object] = {"metrics": ["magnitude"], "record": record}
    if algorithm == "epsilon-greedy":
        random = np.random.default_rng(0).bit_generator.state
        whole |= {"settings": {}, "variant": "paper", "epsilon": 0.1, "random_state": random}
    else:
        whole |= {"seed": 0, "hyperparameters": {}, "training": None}
    return {**whole, **spec}


@pytest.mark.parametrize("algorithm", ["epsilon-greedy", "dqn", "ppo", "a2c", "maskable_ppo"])
@pytest.mark.parametrize(
    "spec",
    [
        None,
        {},
        {"metrics": None},
        {"metrics": "magnitude"},
        {"metrics": [1]},
        {"settings": [], "hyperparameters": []},
        {"settings": {"hidden": "x"}, "hyperparameters": {"width": "x"}},
        {"settings": {"hidden": 10**9}, "hyperparameters": {"width": 10**9}},
        {"settings": {"nonsense": 1}, "hyperparameters": {"nonsense": 1}},
        {"record": []},
        {"record": {"steps": "5"}},
        {"record": {"nonsense": 1}},
        {"random_state": {}, "seed": "x"},
    ],
    ids=str,
)
def test_a_specification_of_another_shape_is_one_message(
    tmp_path: Path, spec: dict[str, object] | None, algorithm: str
):
    """The hash is right: whoever wrote the file wrote it so; and there are no weights."""
    content = {} if spec is None else _whole(spec, algorithm)
    write_checkpoint(tmp_path, Checkpoint(algorithm, 5, content, {}))
    with pytest.raises(PruneEnvError):
        load_agent(tmp_path)


def test_an_empty_specification_ends_a_purification_with_one_message(
    tiny_folder: Path, tiny_data: TextDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    agent, data = tmp_path / "agent", tmp_path / "clean.jsonl"
    write_checkpoint(agent, Checkpoint("dqn", 5, {}, {}))
    write_jsonl(data, tiny_data)
    line = ["purify", str(tiny_folder), "--data", str(data), "--out", str(tmp_path / "out")]
    assert main([*line, "--policy", str(agent)]) == 2
    assert f"{agent} has not the shape of an agent of dqn" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [{"algorithm": ["dqn"]}, {"step": "1"}, {"step": None}, {"spec": []}, {"spec": None}],
    ids=str,
)
def test_a_head_of_another_shape_is_refused(tmp_path: Path, change: dict[str, object]):
    write_checkpoint(tmp_path, _checkpoint(1))
    path = tmp_path / f"{1:012d}.json"
    head = {**json.loads(path.read_text()), **change}
    del head["spec_sha256"]
    path.write_text(json.dumps({**head, "spec_sha256": _sha256_of_json(head)}))
    with pytest.raises(StateError, match="is not a checkpoint"):
        load_agent(tmp_path)


@pytest.mark.parametrize("keep", range(0, 200, 17))
def test_half_written_tensors_do_not_hide_the_older_checkpoint(tmp_path: Path, keep: int):
    write_checkpoint(tmp_path, _checkpoint(1))
    path = tmp_path / f"{1:012d}.safetensors"
    (tmp_path / f"{2:012d}.safetensors").write_bytes(path.read_bytes()[:keep])
    assert read_checkpoint(tmp_path).step == 1


def test_tensors_of_great_size_are_not_read(tmp_path: Path):
    write_checkpoint(tmp_path, _checkpoint(1))
    with (tmp_path / f"{1:012d}.safetensors").open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(StateError, match=r"is too large.*PRUNE_ENV_MAX_TENSOR_BYTES"):
        read_checkpoint(tmp_path)


def test_says_what_is_wrong_with_each(tmp_path: Path):
    write_checkpoint(tmp_path, _checkpoint(1))
    (tmp_path / f"{1:012d}.safetensors").write_bytes(b"")
    with pytest.raises(
        StateError, match=r"000000000001\.safetensors is damaged or missing"
    ) as told:
        read_checkpoint(tmp_path)
    assert str(told.value).count("Remedy: ") == 1


def test_another_format_is_refused(tmp_path: Path):
    write_checkpoint(tmp_path, _checkpoint(1))
    path = tmp_path / f"{1:012d}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(StateError, match=r"another format.*Actual: 99"):
        read_checkpoint(tmp_path)


def test_an_empty_folder_is_no_agent(tmp_path: Path):
    with pytest.raises(StateError, match="No usable agent"):
        read_checkpoint(tmp_path)


def test_a_run_that_has_tested_nothing_says_where_its_agent_is(tmp_path: Path):
    write_checkpoint(tmp_path / "agent", _checkpoint(1))
    with pytest.raises(StateError, match=rf"give {re.escape(str(tmp_path / 'agent'))}, the agent"):
        read_checkpoint(tmp_path)


class _Canary:
    touched = False

    def __reduce__(self):
        return (setattr, (_Canary, "touched", True))


def test_foreign_zips_are_never_opened(tmp_path: Path):
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", pickle.dumps(_Canary()))
    with pytest.raises(StateError, match="pickled fields"):
        read_checkpoint(path)
    assert not _Canary.touched


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path: Path, monkeypatch):
    write_checkpoint(tmp_path, _checkpoint(1))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("prune_env.utils.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(tmp_path, _checkpoint(2))
    assert read_checkpoint(tmp_path).step == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_it_is_time_to_save_after_so_many_steps_or_after_a_minute():
    now = [0.0]
    due = SaveTimes(10, 0, lambda: now[0])
    assert [due(steps) for steps in (1, 9, 10, 19, 20)] == [False, False, True, False, True]
    now[0] = SAVE_SECONDS
    assert [due(21), due(22)] == [True, False]
