"""What was written before is read as before."""

from pathlib import Path

import pytest

import prune_env
from tests.goldens import formats, runs
from tests.goldens.files import differences, lost, plain, read

LAST_DIGITS = 1e-6


def test_models_answer_as_they_did() -> None:
    """A sliced export and an ensemble."""
    new = plain(formats.models())
    assert differences(read("formats_models"), new, 10 * LAST_DIGITS) == []


def test_agents_play_as_they_did() -> None:
    assert differences(read("formats_agents"), plain(formats.agents())) == []


@pytest.mark.parametrize("name", runs.TRAINED)
def test_an_agent_purifies_as_it_did(name: str, tmp_path: Path) -> None:
    new = plain(formats.played_by(runs.prepare(tmp_path), name))
    assert lost(read("formats_played")[name], new, LAST_DIGITS) == []


@pytest.mark.parametrize("name", runs.TRAINED)
def test_a_run_goes_on(name: str, tmp_path: Path) -> None:
    new = plain(formats.resumed(tmp_path, name))
    assert differences(read("formats_resumed")[name], new, LAST_DIGITS) == []


@pytest.mark.parametrize("end", ["json", "csv"])
def test_states_are_read_written_and_valid(end: str, tmp_path: Path) -> None:
    stored = formats.FORMATS / f"states.{end}"
    states = prune_env.read_states(stored)
    assert differences(read("formats_states"), [state.to_dict() for state in states]) == []
    for state in states:
        assert prune_env.validate(state).differences == ()
    again = tmp_path / stored.name
    prune_env.write_states(again, states)
    assert again.read_bytes() == stored.read_bytes()
