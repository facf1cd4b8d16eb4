"""What a program that a signal ended says of the way on."""

import signal

import pytest

from prune_env.cli import main
from prune_env.cli.main import _VERBS


def stop(self: object) -> None:
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("command", "goes_on"),
    [
        ("score random --out o", True),
        ("score random", False),
        ("record --model m --out o.npz", True),
        ("benchmark sst2", True),
        ("audit --model m --out o", True),
        ("purify m --data d --out o", False),
        ("evaluate m --data d", False),
    ],
)
def test_whoever_keeps_what_is_done_says_how_to_go_on(
    command: str, goes_on: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for verb in _VERBS:
        monkeypatch.setattr(verb, "run", stop)
    assert main(command.split()) == 128 + signal.SIGTERM
    told = capsys.readouterr().err
    kept = " The same command goes on." if goes_on else ""
    assert told == f"Terminated: nothing half written was left.{kept}\n"
