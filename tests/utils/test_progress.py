"""What is told of a job, on a terminal and in a log file."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from prune_env.utils import progress
from prune_env.utils.event_kinds import PhaseAdvanced


def said(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.fixture
def log() -> Iterator[Console]:
    console = Console(file=io.StringIO(), width=100)
    progress.show_on(console)
    yield console
    progress.show_on(None)


def run() -> None:
    with progress.job("purify", 2) as begin:
        begin("fine-tune")
        for _ in range(3):
            with progress.progress("Measuring", 5) as advance:
                advance(5)
        begin("heal")
        with progress.progress("Measuring", 5) as advance, progress.progress("Inside", 2):
            advance(1)
            progress.tell("a row")


def test_a_log_has_a_line_a_phase_with_the_number_of_its_step(log: Console) -> None:
    run()
    assert said(log) == ["[1/2] Measuring ...", "[2/2] Measuring ...", "a row"]


def test_phases_alone_have_no_number(log: Console) -> None:
    for phase in ("Measuring", "Measuring", "Asking", "Measuring"):
        with progress.progress(phase, 5):
            pass
    assert said(log) == ["Measuring ...", "Asking ...", "Measuring ..."]


def test_a_job_inside_another_tells_nothing(log: Console) -> None:
    with progress.job("demo", 3) as begin:
        begin("first")
        run()
    assert said(log)[0] == "[1/3] Measuring ..."


def test_a_terminal_shows_the_job_above_its_phase() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    progress.show_on(console)
    try:
        with progress.job("purify", 2) as begin:
            begin("fine-tune")
            begin("heal")
            with progress.progress("Measuring", 5) as advance:
                advance(2)
                assert progress._job is not None
                job, phase = progress._job.bars.tasks
                assert (job.description, job.completed, job.total) == ("purify: heal", 1, 2)
                assert (phase.description, phase.completed, phase.total) == ("  Measuring", 2, 5)
            assert [task.description for task in progress._job.bars.tasks] == ["purify: heal"]
    finally:
        progress.show_on(None)


def test_the_library_is_silent(capsys: pytest.CaptureFixture) -> None:
    run()
    assert capsys.readouterr() == ("", "")


def test_who_tells_the_same_again_and_again_is_heard_once(
    log: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[object] = []
    monkeypatch.setattr(progress, "emit", lambda event, **_: heard.append(event))
    with progress.progress("Waiting", 3) as advance:
        for done in (0, 0, 0, 1, 1, 1):
            advance(done)
    assert [each.done for each in heard if isinstance(each, PhaseAdvanced)] == [1]
