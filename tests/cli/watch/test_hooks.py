"""What runs tell: the verbs, on tiny models, leave events that the page takes."""

import importlib
import io
import json
import re
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from queue import Queue

import pytest

from prune_env.cli.watch.origin import Origin, find_origin
from prune_env.cli.watch.run_log import RunLog
from prune_env.evaluation.guard import unguarded
from prune_env.utils.events import EVENTS, ORIGIN
from tests.cli.support import FAST, TUNING, run
from tests.research.benchmark.support import write_grid


def told(folder, kind):
    return [each for each in RunLog(folder).events if each["kind"] == kind]


@pytest.fixture(scope="module")
def searched(encoder, clean, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "purified"
    assert run("purify", encoder, "--data", clean, "--out", out, "--policy", "gradient", *FAST) == 0
    return out


def test_a_search_tells_its_model_its_masks_and_its_end(searched):
    log = RunLog(searched)
    assert log.state == "ended"
    assert log.events[0]["verb"] == "purify"
    (model,) = told(searched, "ModelShown")
    report = json.loads((searched / "report.json").read_text("utf-8"))
    assert model["tau"] == report["result"]["tau"]
    assert model["accuracy"] == report["result"]["validation_accuracy_unpruned"]
    assert model["rows"] == report["data"]["validation"]["rows"]
    assert "key_gradient" in model["importance"]
    masks = told(searched, "MaskSet")
    played = [each for each in masks if each["stage"] == "search"]
    assert [each["step"] for each in played] == list(range(1, len(played) + 1))
    assert masks[-1]["stage"] == "chosen"
    pruned = "".join(masks[-1]["mask"]).count("0")
    assert pruned == report["result"]["heads_pruned"]
    assert told(searched, "PhaseBegun")[0]["name"] == "Fine-tuning the suspicious model"
    assert told(searched, "RunEnded")[0]["status"] == "done"


def test_the_last_count_of_a_search_that_was_told_just_now_is_told(encoder, clean, tmp_path):
    """An agent counts while it learns; what it asked since is told too, however soon it ends."""
    out, seen = tmp_path / "out", []
    purify = ["purify", encoder, "--data", clean, "--out", out, "--policy", "epsilon-greedy"]
    module = importlib.import_module("prune_env.purification.search")
    tell = module.tell_counts
    with pytest.MonkeyPatch.context() as patch:

        def spy(evaluator, **options):
            evaluator = unguarded(evaluator)
            seen.append(evaluator.evaluations + evaluator.memo_hits)
            tell(evaluator, **options)

        patch.setattr(module, "tell_counts", spy)
        patch.setattr("prune_env.utils.events.INTERVAL_S", 1000.0)
        assert run(*purify, "--budget", "8", *FAST) == 0
    assert told(out, "MasksCounted")[-1]["asked"] == seen[-1] > seen[0]


def test_each_mask_of_a_search_lacks_one_head_more_the_one_that_is_named(searched):
    played = [each for each in told(searched, "MaskSet") if each["stage"] == "search"]
    steps = [
        (set(before), set(after), after_event["action"])
        for (before, _), (after, after_event) in pairwise((_pruned(each), each) for each in played)
        if len(after) > len(before)  # the last step may give heads back
    ]
    assert steps
    for before, after, action in steps:
        assert after - before == {tuple(action)}


def _pruned(event):
    rows = enumerate(event["mask"])
    return [(layer, head) for layer, row in rows for head, kept in enumerate(row) if kept == "0"]


def test_a_run_says_privately_which_model_and_data_it_is_of(searched, encoder, clean):
    found = find_origin(searched, Origin())
    assert (found.model, found.data) == (str(encoder), str(clean))
    for name in (EVENTS, ORIGIN):
        assert (searched / name).stat().st_mode & 0o077 == 0
    card = (searched / "README.md").read_text("utf-8")
    assert str(clean) not in card


def test_healing_tells_refits_and_triggers(encoder, clean, tmp_path):
    out = tmp_path / "out"
    arguments = ["--data", clean, "--out", out, "--healing", "refit-unlearn", *TUNING]
    assert run("purify", encoder, *arguments) == 0
    refits = told(out, "RefitDone")
    report = json.loads((out / "report.json").read_text("utf-8"))
    assert [each["kept"] for each in refits] == [each["kept"] for each in report["refits"]]
    assert len(refits[0]["maps"]) == 12  # six linear maps in each of two layers
    before, after = told(out, "TriggersFound")
    assert (before["moment"], after["moment"]) == ("before", "after")
    assert [before["by_label"], after["by_label"]] == report["inverted_triggers"]
    chosen, healed = told(out, "MaskSet")[-2:]
    assert [chosen["stage"], healed["stage"]] == ["chosen", "healed"]
    assert healed["mask"] == chosen["mask"]
    assert healed["accuracy"] == report["tau"]["value"]
    if report["tau"]["guard"] == "accuracy":
        assert healed["accuracy"] == report["result"]["validation_accuracy_purified"]


def test_a_run_that_fails_leaves_nothing_and_has_told_why(encoder, clean, tmp_path, monkeypatch):
    seen = []

    def fail(*_, **__):
        seen.append(RunLog(tmp_path / "out"))
        raise ValueError("no")

    # `prune_env.purification.purify` is the function of that name too.
    module = sys.modules["prune_env.purification.purify"]
    monkeypatch.setattr(module, "write_purified", fail)
    assert run("purify", encoder, "--data", clean, "--out", tmp_path / "out", *FAST) == 2
    (log,) = seen
    log.poll()
    assert log.events[-1]["error"] == "no"
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("algorithm", ["ppo", "epsilon-greedy"])
def test_an_agent_tells_its_episodes_and_is_resumed(tmp_path, algorithm, monkeypatch):
    monkeypatch.setattr("prune_env.utils.events.INTERVAL_S", 1000.0)
    out = tmp_path / "agent"
    train = ["train", "--out", out, "--env", "prune_env/Landscape-v0", "--algo", algorithm]
    train += ["--steps", "300", "--test-every", "5"]
    assert run(*train) == 0
    (model,) = told(out, "ModelShown")
    assert len(model["available"]) > 1
    stages = {each["stage"] for each in told(out, "MaskSet")}
    assert stages == {"learn", "test"}
    (phase,) = told(out, "PhaseBegun")
    assert phase["total"] == 300
    counts = told(out, "MasksCounted")
    evaluations = json.loads((out / "report.json").read_text("utf-8"))["evaluations"]
    assert counts[-1]["asked"] >= counts[-1]["computed"] == evaluations > 0
    first = (out / EVENTS).read_bytes()
    assert run(*train, "--resume") == 0
    assert (out / EVENTS).read_bytes().startswith(first)
    assert RunLog(out).state == "ended"


def test_what_is_recorded_changes_nothing_of_the_learning(tmp_path, monkeypatch):
    def learned(out):
        train = ["train", "--out", out, "--env", "prune_env/Landscape-v0", "--steps", "200"]
        assert run(*train) == 0
        report = json.loads((out / "report.json").read_text("utf-8"))
        return report["evaluations"], report["best"]

    with_events = learned(tmp_path / "with")
    monkeypatch.setattr("prune_env.utils.events.EventLog", _refused)
    assert learned(tmp_path / "without") == with_events
    assert not (tmp_path / "without" / EVENTS).exists()


def test_a_benchmark_tells_its_cells(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    benchmark = ["benchmark", write_grid(tmp_path, ["gradient"]), "--out", out, "--threads", "1"]
    assert run(*benchmark) == 0
    (planned,) = told(out, "CellsPlanned")
    names = dict(planned["cells"])
    changes = told(out, "CellChanged")
    done = {each["key"]: each["row"] for each in changes if each["status"] == "done"}
    assert set(done) == set(names)
    assert {each["key"] for each in changes if each["status"] == "running"} <= set(names)
    assert {row["policy"] for row in done.values()} >= {"benign", "backdoored", "gradient"}
    assert run(*benchmark) == 0  # what was found before is told again, at once
    assert len(told(out, "CellsPlanned")) == 2


class Heard(io.StringIO):
    """A stream that keeps the addresses written to it."""

    def __init__(self):
        super().__init__()
        self.places = Queue()

    def write(self, text):
        for place in re.findall(r"http://\S+/", text):
            self.places.put(place)
        return super().write(text)


def test_a_verb_opens_the_page_itself_and_closes_it(encoder, clean, tmp_path, monkeypatch):
    said, connected = Heard(), threading.Event()
    module = importlib.import_module("prune_env.purification.purify")
    search = module.search

    def search_once_somebody_watches(*args, **options):
        assert connected.wait(60)
        return search(*args, **options)

    def watch():
        place = said.places.get(timeout=60)
        with urllib.request.urlopen(f"{place}runs/0/events", timeout=60) as stream:
            connected.set()
            return place, b"".join(stream)

    monkeypatch.setattr(module, "search", search_once_somebody_watches)
    monkeypatch.setattr(sys, "stderr", said)
    purify = ["purify", encoder, "--data", clean, "--out", tmp_path / "out", "--watch", *FAST]
    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(watch)
        assert run(*purify, "--policy", "gradient") == 0
        place, content = watched.result(timeout=60)
    assert b'"RunEnded"' in content
    assert b'"state": "running"' in content
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(place, timeout=5)


def test_the_page_that_a_verb_opens_needs_its_packages(
    encoder, clean, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run("purify", encoder, "--data", clean, "--out", tmp_path / "out", "--watch") == 2
    assert "prune-env[watch]" in capsys.readouterr().err


def _refused(*_):
    raise OSError("no space")
