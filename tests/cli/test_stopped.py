"""What a program that a signal ended says of the way on."""

import signal
from pathlib import Path

import pytest

from prune_env.agents.epsilon_greedy.agent import EpsilonGreedy
from prune_env.cli import main
from prune_env.cli.main import _VERBS
from tests.cli.support import run


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
        ("train --out o", False),
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


@pytest.mark.parametrize("several", [(), ("--seeds", 0, 1)], ids=["one", "several"])
def test_a_training_that_is_left_at_once_goes_on_with_resume(
    several: tuple[object, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    def ctrl_c_twice(*_: object, **__: object) -> None:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)

    command = ["train", "--env", "prune_env/Landscape-v0", "--algo", "epsilon-greedy"]
    command += ["--model", "landscape:layers=2,heads=2", "--tau", "0.8", "--steps", 8, *several]
    with monkeypatch.context() as patch:
        patch.setattr(EpsilonGreedy, "learn", ctrl_c_twice)
        assert run(*command, "--out", tmp_path / "run") == 128 + signal.SIGINT
    told = capsys.readouterr().err
    assert "Interrupted: nothing half written was left. The same command with --resume" in told
    assert run(*command, "--out", tmp_path / "run", "--resume") == 0
