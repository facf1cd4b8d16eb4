"""Episodes as data, and the files that hold them."""

import pytest

import prune_env
from prune_env.env.state import State, read_states, write_states
from prune_env.errors import StateError


def test_a_state_holds_what_was_played(played):
    state = played.state
    assert state.env_id == "prune_env/HeadPruning-v0"
    assert "render_mode" not in state.kwargs
    assert state.actions == (0, 5, 4, 1)
    assert len(state.pruned) == 4
    assert state.evaluations == 2
    assert (state.ended, state.model) == ("", played.subject.name)
    assert state.fingerprint == played.evaluator.fingerprint


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_files_bring_states_back(played, tmp_path, suffix):
    first = played.state
    played.step(played.action_space.n - 1)
    path = tmp_path / f"states{suffix}"
    write_states(path, [first, played.state])
    assert read_states(path) == [first, played.state]
    write_states(path, [])
    assert read_states(path) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", "{"),
        ("a.json", "[" * 50_000),
        ("deep.csv", "env_id,kwargs\nx," + "[" * 50_000 + "\n"),
        ("a.json", "[]"),
        ("a.json", '{"format": "prune-env-states", "version": 99, "states": []}'),
        ("a.json", '{"format": "prune-env-states", "version": 1}'),
        ("a.json", '{"format": "prune-env-states", "version": 1, "states": [{}]}'),
        ("a.csv", "a,b\n1,2\n"),
        ("a.csv", "a\n1,2,3\n"),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(StateError):
        read_states(path)


def test_a_wrong_value_is_an_error(played):
    values = played.state.to_dict()
    for key, value in (("actions", ["x"]), ("settings", {"tau": 7}), ("settings", {"t": 1})):
        with pytest.raises(StateError):
            State.from_dict({**values, key: value})


def test_a_missing_file_is_an_error(tmp_path):
    for name in ("none.json", "none.csv"):
        with pytest.raises(StateError):
            read_states(tmp_path / name)


def test_the_package_offers_states():
    assert prune_env.State is State
