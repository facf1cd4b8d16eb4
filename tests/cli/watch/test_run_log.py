"""Which file is a run's, and what a reader makes of every state that it can be in."""

import json
import os
import threading
from contextlib import suppress

import pytest

from prune_env.cli.watch import run_log
from prune_env.cli.watch.run_log import RunLog
from prune_env.errors import StateError
from prune_env.utils.event_kinds import MaskSet, ModelShown, PhaseBegun, RunEnded
from prune_env.utils.events import EVENTS, EventLog, emit, recording
from prune_env.utils.files import new_folder
from tests.cli.watch.support import record_benchmark, record_purify

SOON_SUPERSEDED = ("PhaseAdvanced", "MasksCounted")


def test_a_finished_run_is_read_whole(tmp_path):
    log = RunLog(record_purify(tmp_path / "run"))
    assert log.state == "ended"
    assert log.events[0]["kind"] == "RunStarted"
    assert log.events[0]["verb"] == "purify"
    assert [each["kind"] for each in log.events].count("MaskSet") == 40


def test_every_kind_that_runs_write_is_known(tmp_path):
    for write in (record_purify, record_benchmark):
        folder = write(tmp_path / write.__name__)
        lines = list(map(json.loads, (folder / EVENTS).read_text("utf-8").splitlines()))
        lasting = [each for each in lines[1:] if each["kind"] not in SOON_SUPERSEDED]
        read = RunLog(folder).events
        assert {each["kind"] for each in read[1:]} == {each["kind"] for each in lines[1:]}
        assert [each for each in read[1:] if each["kind"] not in SOON_SUPERSEDED] == lasting


def test_a_run_that_goes_on_is_followed(tmp_path):
    writer = EventLog(tmp_path / EVENTS, "train")
    log = RunLog(tmp_path)
    assert log.state == "running"
    writer.write(PhaseBegun("Training", 10))
    log.poll()
    assert log.events[-1]["name"] == "Training"
    writer.write(RunEnded("done"))
    writer.close()
    log.poll()
    assert log.state == "ended"


def test_the_hidden_folder_of_purify_is_found_and_its_end_is_seen(tmp_path):
    out = tmp_path / "out [1]"
    with new_folder(out) as folder, recording(folder, "purify"):
        emit(PhaseBegun("Fine-tuning", 10))
        log = RunLog(out)
        assert log.state == "running"
        assert log.folder == folder
    log.poll()
    assert log.state == "ended"
    assert log.folder == out


def test_a_failed_run_whose_folder_is_gone_still_says_why(tmp_path):
    with (
        suppress(ValueError),
        new_folder(tmp_path / "out") as folder,
        recording(folder, "purify"),
    ):
        log = RunLog(tmp_path / "out")
        raise ValueError("no")
    log.poll()
    assert not folder.exists()
    assert log.events[-1]["error"] == "no"


def test_a_run_that_died_keeps_its_whole_lines_and_can_be_resumed(tmp_path):
    writer = EventLog(tmp_path / EVENTS, "train")
    writer.write(PhaseBegun("Training", 10))
    writer.close()
    with (tmp_path / EVENTS).open("ab") as file:
        file.write(b'{"kind": "PhaseAdvanced", "t": 1.0, "do')
    log = RunLog(tmp_path)
    assert log.state == "died"
    assert log.events[-1]["kind"] == "PhaseBegun"
    with recording(tmp_path, "train"):
        emit(PhaseBegun("Training again", 10))
    log.poll()
    assert [each["kind"] for each in log.events[1:]] == ["PhaseBegun", "PhaseBegun", "RunEnded"]
    assert log.state == "ended"


def test_waiting_takes_the_run_that_begins_and_no_older_one(tmp_path):
    stale = record_purify(tmp_path / ".out.stale") / EVENTS
    os.utime(stale, (1, 1))
    log = RunLog(tmp_path / "out", wait=True)
    log.poll()
    assert log.state == "waiting"
    with new_folder(tmp_path / "out") as folder, recording(folder, "purify"):
        log.poll()
        assert log.state == "running"
        assert log.folder == folder


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "No run"),
        (lambda path: path.mkdir(), "is not the folder of a run"),
        (lambda path: path.write_text("x"), "is not the folder of a run"),
        (lambda path: _file(path, "report.json", b"{}"), "a run of an older one"),
        (lambda path: _file(path, EVENTS, b""), "is empty"),
        (lambda path: _file(path, EVENTS, b"PK\x03\x04\n"), "holds no events"),
        (
            lambda path: _file(path, EVENTS, b'{"format": "prune-env-events", "version": 99}\n'),
            "99",
        ),
        (lambda path: _lines(path, "{"), "Line 2 of"),
        (lambda path: _lines(path, "[" * 100_000), "Line 2 of"),
        (lambda path: _lines(path, '{"kind": "PhaseBegun", "t": NaN}'), "Line 2 of"),
        (lambda path: _lines(path, '{"kind": "PhaseBegun", "t": 1}'), "no name"),
        (lambda path: _lines(path, _mask(mask=["10", "1"])), "mask"),
        (lambda path: _lines(path, _mask(mask=["1x"])), "mask"),
        (lambda path: _lines(path, _mask(mask=["1" * 10**6])), "mask"),
        (lambda path: _lines(path, _model("111"), _mask()), "2 x 2 for a model of 1 x 3"),
        (lambda path: _lines(path, _model("11"), _mask()), "Line 3 of"),
        (lambda path: _lines(path, _model("11", "11", "11"), _mask()), "for a model of 3 x 2"),
        (lambda path: _lines(path, _model("11", "11"), _model("1"), _mask(model="x")), "1 x 1"),
        (lambda path: _lines(path, _mask(accuracy="high")), "accuracy"),
        (lambda path: _lines(path, _mask(stage="other")), "stage"),
        (lambda path: _lines(path, '{"kind": "PhaseEnded", "t": 1e999}'), "Line 2 of"),
        (lambda path: _lines(path, _row('{"acc": -1e999}')), "Line 2 of"),
        (lambda path: _lines(path, _row('{"x": ' + "[" * 90 + "]" * 90 + "}")), "row"),
        (lambda path: _lines(path, _mask(step=10**400)), "step"),
        (lambda path: _lines(path, _row('{"x": [' + "{}," * 300_000 + "{}]}")), "too large"),
        (lambda path: _file(path, EVENTS, b"1" * (1 << 23)), "too large"),
    ],
)
def test_what_is_no_run_is_told(tmp_path, make, told):
    path = tmp_path / "run"
    make(path)
    with pytest.raises(StateError, match="Remedy") as caught:
        RunLog(path)
    assert told in str(caught.value)


def test_a_mask_as_wide_as_the_widest_model_is_cut_to_its_own(tmp_path):
    models = _model("11", "11", model="small"), _model("111", "111", "111", model="large")
    masks = [
        _mask(mask=["100", "110", "000"], model="small"),
        _mask(mask=["101", "111", "111"], model="large"),
    ]
    _lines(tmp_path / "run", *models, *masks)
    read = [each["mask"] for each in RunLog(tmp_path / "run").events if "mask" in each]
    assert read == [["10", "11"], ["101", "111", "111"]]


def test_a_kind_of_a_later_release_is_passed_over(tmp_path):
    _lines(tmp_path / "run", '{"kind": "Later", "t": 1}', _mask())
    assert [each["kind"] for each in RunLog(tmp_path / "run").events] == ["RunStarted", "MaskSet"]


def test_a_line_that_is_damaged_later_ends_the_reading(tmp_path):
    _lines(tmp_path, _mask())
    log = RunLog(tmp_path)
    with (tmp_path / EVENTS).open("ab") as file:
        file.write(b"nonsense\n")
    log.poll()
    assert log.state == "damaged"
    assert "Line 3" in str(log.problem)
    assert len(log.events) == 2


@pytest.mark.parametrize(
    ("limit", "most"), [("MOST_EVENTS", 20), ("MOST_ENTRIES", 500), ("MOST_BYTES", 9000)]
)
def test_what_is_too_much_is_left_out_and_the_end_is_told(tmp_path, monkeypatch, limit, most):
    monkeypatch.setattr(run_log, limit, most)
    log = RunLog(record_purify(tmp_path))
    assert log.state == "ended"
    assert log.events[-1]["kind"] == "RunEnded"
    assert 10 < len(log.events) <= 30
    assert "are left out" in str(log.problem)


def test_a_run_that_goes_on_beyond_what_is_shown_is_followed_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(run_log, "MOST_EVENTS", 3)
    writer = EventLog(tmp_path / EVENTS, "train")
    log = RunLog(tmp_path)
    for _ in range(5):
        writer.write(PhaseBegun("Training", 10))
    log.poll()
    assert log.state == "running"
    assert "from 4 on are left out" in str(log.problem)
    writer.write(RunEnded("failed", "no"))
    writer.close()
    log.poll()
    assert log.state == "ended"
    assert [each["kind"] for each in log.events[1:]] == ["PhaseBegun", "PhaseBegun", "RunEnded"]


def test_of_progress_that_is_superseded_the_last_is_kept(tmp_path):
    advanced = [json.dumps({"kind": "PhaseAdvanced", "t": 1.0, "done": n}) for n in range(3000)]
    begun = '{"kind": "PhaseBegun", "t": 1.0, "name": "x", "total": 3000}'
    _lines(tmp_path, begun, *advanced, '{"kind": "PhaseEnded", "t": 2.0}', begun, *advanced[:9])
    read = RunLog(tmp_path).events[1:]
    assert [each.get("done", each["kind"]) for each in read] == [
        *("PhaseBegun", 2999, "PhaseEnded"),
        *("PhaseBegun", 8),
    ]


def test_a_name_that_is_no_utf_8_is_spelt_out(tmp_path):
    assert RunLog(record_purify(tmp_path / os.fsdecode(b"odd\xff"))).name == "odd\\udcff"


def test_a_reader_never_disturbs_a_writer(tmp_path):
    """Readers ask for the lock all the time; whoever begins to write still gets it."""
    record_purify(tmp_path)
    log, stop = RunLog(tmp_path), threading.Event()

    def look():
        while not stop.is_set():
            log.poll()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(50):
            EventLog(tmp_path / EVENTS, "train").close()
    finally:
        stop.set()
        thread.join()
    log.poll()
    assert log.problem is None


def _file(path, name, content):
    path.mkdir()
    (path / name).write_bytes(content)


def _lines(path, *lines):
    path.mkdir(exist_ok=True)
    with recording(path, "train"):
        pass
    header = (path / EVENTS).read_text("utf-8").splitlines()[0]
    (path / EVENTS).write_text("\n".join([header, *lines, ""]), "utf-8")


def _mask(**changed):
    event = MaskSet(["10", "11"], 0.5, "search")
    return json.dumps({"kind": "MaskSet", "t": 1.0, **vars(event), **changed})


def _model(*available, model="model"):
    event = ModelShown(model, list(available), 0.9, 0.8)
    return json.dumps({"kind": "ModelShown", "t": 1.0, **vars(event)})


def _row(row):
    return f'{{"kind": "RowMeasured", "t": 1.0, "row": {row}}}'
