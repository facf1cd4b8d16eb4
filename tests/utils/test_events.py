"""Events: appended line by line, whatever happens to the run, and never its end."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from typing import get_args

import numpy as np
import pytest

from prune_env.utils import events
from prune_env.utils.event_kinds import (
    Event,
    MaskSet,
    PhaseAdvanced,
    PhaseBegun,
    RunEnded,
    mask_rows,
)
from prune_env.utils.events import EVENTS, ORIGIN, EventLog, emit, recording
from prune_env.utils.output import PRIVATE
from tests.house import modules


def lines(folder):
    return [json.loads(line) for line in (folder / EVENTS).read_text("utf-8").splitlines()]


def test_every_kind_of_event_is_told_by_some_run():
    sources = [module.source for module in modules().values()]
    for kind in get_args(Event):
        assert any(f"{kind.__name__}(" in source for source in sources), kind


def test_a_run_is_a_header_its_events_and_an_end(tmp_path):
    with recording(tmp_path, "purify"):
        emit(MaskSet(mask_rows(np.eye(2, dtype=bool)), 0.5, "search", action=[0, 1]))
    header, mask, end = lines(tmp_path)
    assert (header["format"], header["version"], header["verb"]) == (
        "prune-env-events",
        1,
        "purify",
    )
    assert (mask["kind"], mask["mask"], mask["action"]) == ("MaskSet", ["10", "01"], [0, 1])
    assert 0 <= mask["t"] <= end["t"]
    assert (end["kind"], end["status"]) == ("RunEnded", "done")


def test_without_a_recording_nothing_is_written(tmp_path):
    emit(PhaseBegun("Training", 3))
    emit(PhaseAdvanced(1), sometimes=True)
    assert not events.recorded()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no"), "failed"), (KeyboardInterrupt(), "interrupted")]
)
def test_what_ends_a_run_is_told(tmp_path, error, status):
    with pytest.raises(type(error)), recording(tmp_path, "train"):
        raise error
    end = lines(tmp_path)[-1]
    assert end["status"] == status
    assert end["error"] == (str(error) or "KeyboardInterrupt")


def test_a_recording_inside_another_is_part_of_it(tmp_path):
    (tmp_path / "inner").mkdir()
    with recording(tmp_path, "demo"), recording(tmp_path / "inner", "purify"):
        emit(PhaseBegun("Training", 3))
    assert not any((tmp_path / "inner").iterdir())
    assert [each.get("kind") for each in lines(tmp_path)] == [None, "PhaseBegun", "RunEnded"]


def test_numbers_that_json_does_not_have_are_null(tmp_path):
    with recording(tmp_path, "train"):
        emit(MaskSet(["1"], float("nan"), "learn", terms={"a": float("inf"), "b": 1.0}))
    mask = lines(tmp_path)[1]
    assert mask["accuracy"] is None
    assert mask["terms"] == {"a": None, "b": 1.0}


def test_events_of_a_kind_are_thinned_out(tmp_path, monkeypatch):
    now = iter(np.arange(0, 100, 0.05).tolist())
    monkeypatch.setattr(events.time, "perf_counter", lambda: next(now))
    with recording(tmp_path, "train"):
        for done in range(40):
            emit(PhaseAdvanced(done), sometimes=True)
    kept = [each for each in lines(tmp_path) if each.get("kind") == "PhaseAdvanced"]
    assert 5 <= len(kept) <= 12


def test_a_resumed_run_goes_on_after_its_last_whole_line(tmp_path):
    with recording(tmp_path, "train"):
        emit(PhaseBegun("Training", 3))
    with (tmp_path / EVENTS).open("ab") as file:
        file.write(b'{"kind": "Phase')
    with recording(tmp_path, "train"):
        emit(PhaseBegun("Training again", 3))
    told = lines(tmp_path)
    kinds = [each.get("kind") for each in told]
    assert kinds == [None, "PhaseBegun", "RunEnded", "PhaseBegun", "RunEnded"]
    times = [each["t"] for each in told[1:]]
    assert times == sorted(times)


def test_a_file_of_something_else_is_begun_anew(tmp_path):
    (tmp_path / EVENTS).write_text("not ours\n", "utf-8")
    with recording(tmp_path, "train"):
        pass
    assert len(lines(tmp_path)) == 2


def test_a_second_writer_is_not_recorded_and_goes_on(tmp_path, caplog):
    log = EventLog(tmp_path / EVENTS, "benchmark")
    with caplog.at_level(logging.WARNING), recording(tmp_path, "benchmark"):
        emit(PhaseBegun("lost", 1))
    log.write(RunEnded("done"))
    log.close()
    assert "cannot be watched" in caplog.text
    assert [each.get("kind") for each in lines(tmp_path)] == [None, "RunEnded"]


def test_a_full_disk_ends_the_recording_and_not_the_run(tmp_path, caplog):
    done = False
    with caplog.at_level(logging.WARNING), recording(tmp_path, "train"):
        events._current._file.close()
        events._current._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
        emit(PhaseBegun("lost", 1))
        emit(PhaseBegun("not even tried", 1))
        done = True
    assert done
    assert caplog.text.count("cannot be watched") == 1


def test_the_file_is_private_and_says_where_model_and_data_are(tmp_path):
    with events.origin({"model": "m", "data": "d"}), recording(tmp_path, "purify"):
        pass
    assert json.loads((tmp_path / ORIGIN).read_text("utf-8")) == {"model": "m", "data": "d"}
    assert {EVENTS, ORIGIN} == PRIVATE
    for name in PRIVATE:
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


KILLED = """
import sys, time
from pathlib import Path
from prune_env.utils.event_kinds import PhaseAdvanced
from prune_env.utils.events import emit, recording
with recording(Path(sys.argv[1]), "train"):
    for done in range(10**9):
        emit(PhaseAdvanced(done))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and flock")
def test_a_killed_run_leaves_whole_lines_and_an_open_lock(tmp_path):
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)]) as run:
        path = tmp_path / EVENTS
        deadline = time.monotonic() + 30
        while not path.exists() or path.stat().st_size < 100_000:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with path.open("rb") as file:
            assert events.is_written(file.fileno())
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
            assert not events.is_written(file.fileno())
    *whole, last = path.read_bytes().split(b"\n")
    assert all(json.loads(line) for line in whole)
    assert last == b""
