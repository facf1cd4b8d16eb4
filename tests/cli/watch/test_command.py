"""`prune-env watch` as it is called: what it serves, to whom, and what it refuses."""

import json
import os
import signal
import socket
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest

from prune_env.cli.watch import run_log, serve
from prune_env.utils.event_kinds import PhaseBegun
from prune_env.utils.events import EVENTS, ORIGIN, EventLog
from tests.cli.support import run
from tests.cli.watch.support import command, record_purify, served


def get(address, **asked):
    request = urllib.request.Request(address, **asked)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status, dict(answer.headers), answer.read()


def test_it_serves_the_page_until_ctrl_c(tmp_path):
    with command(record_purify(tmp_path / "run"), "--port", "0") as (process, place):
        assert place.startswith("http://127.0.0.1:")
        status, _, page = get(place)
        assert status == 200
        assert b"prune-env" in page
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        told = process.stderr.read()
    assert "closed" in told
    assert "Traceback" not in told


def test_the_page_is_strict_and_secret(tmp_path):
    with served(record_purify(tmp_path / "run")) as place:
        for name in ("", "main.js", "runs"):
            _, headers, _ = get(place + name)
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'none'")
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
        outside = place.rsplit("/", 2)[0]
        for path in ("/", "/runs", "/wrong/runs", "/secret/../", "/secret/%2e%2e/server.py"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(outside + path)
            assert refused.value.code in (404, 405)


def test_a_question_that_is_no_question_is_answered_with_an_error(tmp_path):
    with served(record_purify(tmp_path / "run")) as place:
        for content in (b"{", b"[]", b"[" * 30_000, b" " * 100_000, b"{}"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(f"{place}runs/0/ask/accuracy", data=content)
            assert refused.value.code == 422
            assert "error" in json.loads(refused.value.read())


@pytest.mark.parametrize("number", ["1", "9" * 5000, "-1", "%D9%A0", "x"])
def test_a_run_that_is_not_shown_is_not_found(tmp_path, number):
    with served(record_purify(tmp_path / "run")) as place:
        for path, body in (("events", None), ("ask/facts", b"{}")):
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(f"{place}runs/{number}/{path}", data=body)
            assert refused.value.code == 404


def test_a_run_with_an_odd_name_is_listed(tmp_path):
    with served(record_purify(tmp_path / os.fsdecode(b"odd\xff"))) as place:
        assert json.loads(get(f"{place}runs")[2])[0]["name"] == "odd\\udcff"


def test_what_is_left_out_is_told_on_the_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run_log, "MOST_EVENTS", 20)
    monkeypatch.setattr(serve, "make_server", lambda *_: SimpleNamespace(run=lambda sockets: None))
    assert run("watch", record_purify(tmp_path / "run"), "--port", "0") == 0
    assert "are left out" in capsys.readouterr().err


def test_a_stream_goes_on_where_it_was_cut(tmp_path):
    with served(record_purify(tmp_path / "run")) as place:
        request = urllib.request.Request(f"{place}runs/0/events", headers={"Last-Event-ID": "30"})
        with urllib.request.urlopen(request, timeout=20) as stream:
            lines = [stream.readline() for _ in range(3)]
    number, kind, data = (line.decode().partition(": ")[2].strip() for line in lines)
    assert kind == "events"
    assert len(json.loads(data)) == int(number) - 30


def test_a_port_that_is_taken_is_told(tmp_path, capsys):
    record_purify(tmp_path / "run")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run("watch", tmp_path / "run", "--port", port) == 2
    told = capsys.readouterr().err
    assert str(port) in told
    assert "--port 0" in told


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_told(tmp_path, capsys, port):
    assert run("watch", record_purify(tmp_path / "run"), "--port", port) == 2
    assert "--port" in capsys.readouterr().err


def test_a_host_that_is_none_of_this_machine_is_told(tmp_path, capsys):
    place = record_purify(tmp_path / "run")
    assert run("watch", place, "--host", "256.1.1.1", "--port", "0") == 2
    assert "another --host" in capsys.readouterr().err


def test_what_is_no_run_ends_with_status_2(tmp_path, capsys):
    assert run("watch", tmp_path / "none") == 2
    assert "No run" in capsys.readouterr().err
    assert run("watch", tmp_path) == 2
    assert "is not the folder of a run" in capsys.readouterr().err
    record_purify(tmp_path / "run")
    with (tmp_path / "run" / EVENTS).open("ab") as file:
        file.write(b"nonsense\n")
    assert run("watch", tmp_path / "run") == 2
    assert "is damaged" in capsys.readouterr().err
    assert run("watch", *[tmp_path / "run"] * 3) == 2


def test_a_model_without_data_is_refused(tmp_path, capsys):
    assert run("watch", record_purify(tmp_path / "run"), "--model", "x") == 2
    assert "--model and --data" in capsys.readouterr().err


def test_it_may_be_opened_before_the_run_begins(tmp_path):
    with command(tmp_path / "out", "--wait", "--port", "0") as (_, place):
        stream = urllib.request.urlopen(f"{place}runs/0/events", timeout=20)
        with stream:
            waiting = [stream.readline() for _ in range(2)][1]
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / ORIGIN).write_text('{"model": "m", "data": "d"}', "utf-8")
            log = EventLog(tmp_path / "out" / EVENTS, "train")
            log.write(PhaseBegun("Training", 10))
            told = b"".join(stream.readline() for _ in range(7))
            log.close()
    assert b'"state": "waiting", "problem": "", "missing": ""' in waiting
    assert b"Training" in told
    assert b'"state": "running", "problem": "", "missing": ""' in told


def test_a_run_that_names_no_model_says_what_to_give(tmp_path):
    with (
        served(record_purify(tmp_path / "run")) as place,
        urllib.request.urlopen(f"{place}runs/0/events", timeout=20) as stream,
    ):
        told = next(line for line in stream if b'"missing"' in line)
    assert b"--model MODEL --data DATA" in told
