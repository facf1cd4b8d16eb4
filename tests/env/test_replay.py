"""Episodes that are played again."""

import dataclasses
import inspect
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_equal

from prune_env.data.dataset import write_jsonl
from prune_env.env.arguments import ARGUMENTS
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.replay import validate
from prune_env.env.state import State, read_states, write_states
from prune_env.errors import SettingsError, StateError
from tests.env.support import PrescribedEvaluator, env_over, falls_by
from tests.support import tiny_dataset, write_tiny_folder


def test_a_state_is_validated_elsewhere(played):
    state = State.from_dict(json.loads(json.dumps(played.state.to_dict())))
    assert validate(state).ok
    assert played.validate(state).ok
    before = played.state
    assert played.state == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"accuracy": 0.123}, "accuracy: the state says 0.123"),
        ({"fingerprint": "f"}, "fingerprint"),
        ({"evaluations": 9}, "evaluations: the state says 9, the replay 2"),
        ({"ended": "stop"}, "ended"),
        ({"pruned": ()}, "pruned"),
        ({"actions": (0, 5, 4)}, "pruned"),
        ({"actions": (0, 0, 5, 4)}, "already pruned"),
        ({"actions": (0, 5, 4, 1, 99)}, "out of range"),
        ({"total_reward": 0.0}, "total_reward"),
        ({"reward": "sparsity"}, "reward: the state says sparsity"),
        ({"model": "landscape:layers=9,heads=9"}, "does not fit"),
        ({"model": "elsewhere"}, "elsewhere"),
    ],
)
def test_what_differs_is_said(played, change, said):
    differences = validate(dataclasses.replace(played.state, **change)).differences
    assert any(said in difference for difference in differences)


def test_rounding_is_no_difference_and_more_is(played):
    state = played.state
    for name in ("accuracy", "total_reward"):
        told = getattr(state, name)
        assert validate(dataclasses.replace(state, **{name: told + 1e-12})).ok
        assert not validate(dataclasses.replace(state, **{name: told + 1e-6})).ok


def test_other_rules_are_a_difference(played):
    other = HeadPruningEnv(pool=played.core.pool.names, prune_step=3, tau=0.5)
    assert any("settings" in said for said in validate(played.state, other).differences)


def test_a_state_after_the_end_says_so(played):
    played.step(played.action_space.n - 1)
    state = dataclasses.replace(played.state, actions=(*played.state.actions, 2))
    assert "has ended" in played.validate(state).differences[0]


def test_an_environment_of_objects_is_validated_with_one(tmp_path):
    env = env_over(PrescribedEvaluator(falls_by(0.01)))
    env.reset()
    env.step(1)
    assert env.state.env_id == ""
    with pytest.raises(StateError, match="built from objects"):
        validate(env.state)
    assert validate(env.state, env).ok
    env.evaluator.accuracy_of = falls_by(0.02)
    assert "accuracy" in validate(env.state, env).differences[0]


def test_an_environment_goes_on_from_a_state(played):
    state = State.from_dict(json.loads(json.dumps(played.state.to_dict())))
    other = HeadPruningEnv(**{**state.kwargs, "render_mode": "ansi"})
    other.reset(seed=9)
    restored = other.restore(state)
    twin = HeadPruningEnv(**state.kwargs)
    twin.reset(options={"model": state.model})
    for action in state.actions:
        observation, _, _, _, info = twin.step(action)
    assert_equal(restored, (observation, info))
    assert_equal(played.core.observe(0), restored[0])
    np.testing.assert_array_equal(other.action_masks(), played.action_masks())
    assert other.state.to_dict() == {**state.to_dict(), "env_id": "", "kwargs": {}}
    while not played.episode.ended:
        action = int(played.action_masks().argmax())
        assert_equal(other.step(action), played.step(action))
    assert other.restore(played.state)[1]["ended"] == played.episode.ended
    assert_equal(other.reset(seed=4), played.reset(seed=4))


def test_a_state_before_any_action_and_after_an_illegal_end_are_restored():
    env = env_over(PrescribedEvaluator(falls_by(0.01)), end_on_illegal=True)
    observation, info = env.reset()
    first = env.state
    env.step(1)
    env.step(1)
    ended = env.state
    assert_equal(env.restore(first), (observation, info))
    assert env.restore(ended)[1]["ended"] == "illegal"
    assert env.state == ended


def test_what_is_no_state_is_told(played):
    with pytest.raises(StateError, match=r"Actual: dict\. Remedy: State\.from_dict makes one"):
        played.restore(played.state.to_dict())
    with pytest.raises(StateError, match=r"Actual: str\."):
        validate("states.json")


def test_a_foreign_state_leaves_the_environment_as_it_was(played):
    before = played.state
    for change in ({"accuracy": 0.123}, {"fingerprint": "f"}, {"actions": (0, 0)}):
        with pytest.raises(StateError, match="cannot go on from the state"):
            played.restore(dataclasses.replace(before, **change))
    assert played.state == before


@pytest.mark.parametrize("suffix", [".json", ".csv"])
@pytest.mark.parametrize(
    "env_id",
    [
        "evilmod:X-v0",
        "evilmod:prune_env/Tiny-v0",
        " prune_env/Landscape-v0",
        "prune_env/Landscape",
        "prune_env/Landscape-v7",
        "CartPole-v1",
    ],
)
def test_a_state_from_elsewhere_imports_nothing(played, tmp_path, monkeypatch, env_id, suffix):
    """Gymnasium imports the module before the colon of an id."""
    canary = tmp_path / "canary"
    (tmp_path / "evilmod.py").write_text(f"open({str(canary)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / f"states{suffix}"
    write_states(path, [dataclasses.replace(played.state, env_id=env_id)])
    with pytest.raises(StateError, match=r"none of this package's.*Remedy"):
        validate(read_states(path)[0])
    assert not canary.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"nonsense": 1},
        {"id": "evilmod:X-v0"},
        {"entry_point": "evilmod:X"},
        {"vector_entry_point": "evilmod:X"},
        {"additional_wrappers": ["evilmod:X"]},
        {"disable_env_checker": True},
        {"max_episode_steps": 3},
        {"evaluator": {}},
        {"importance": [[1]]},
        {"render_mode": "human"},
        {"model": {"a": 1}},
        {"pool": [["landscape"]]},
        {"pool": "landscape"},
        {"metrics": 3},
        {"tau": "0.5"},
        {"prune_step": True},
        {"backtrack": "yes"},
    ],
    ids=str,
)
def test_a_state_gives_plain_arguments_of_the_constructor_alone(played, change):
    state = dataclasses.replace(played.state, kwargs={**played.state.kwargs, **change})
    with pytest.raises(StateError, match="The state gives its environment"):
        validate(state)


def test_every_plain_argument_of_the_constructor_may_stand_in_a_file():
    objects = {"self", "evaluator", "importance", "render_mode"}
    assert set(ARGUMENTS) == set(inspect.signature(HeadPruningEnv.__init__).parameters) - objects


@pytest.mark.parametrize("model", ["landscape:layers=" + "[" * 50_000, "landscape:__class__=1"])
def test_a_ready_made_model_is_read_strictly(played, model):
    kwargs = {"model": model}
    state = dataclasses.replace(played.state, kwargs=kwargs)
    with pytest.raises(SettingsError, match="Cannot read the model"):
        validate(state)


def test_a_model_that_was_named_at_a_reset_is_found_again(tmp_path: Path) -> None:
    folder = write_tiny_folder(tmp_path / "one" / "model")
    other = write_tiny_folder(tmp_path / "two" / "other", layers=2, seed=7)
    write_jsonl(tmp_path / "clean.jsonl", tiny_dataset(40))
    env = HeadPruningEnv(str(folder), str(tmp_path / "clean.jsonl"), tau=0.0)
    _, info = env.reset(options={"model": str(other)})
    assert info["model"] == "other"
    env.step(0)
    state = env.state
    env.reset()
    assert env.state.model == "model"
    env.restore(state)
    assert env.state == state
    assert validate(state, env).ok


def test_models_of_a_pool_whose_folders_are_called_alike_are_told_apart(tmp_path: Path) -> None:
    folders = [
        str(write_tiny_folder(tmp_path / str(seed) / "model", seed=seed)) for seed in range(2)
    ]
    write_jsonl(tmp_path / "clean.jsonl", tiny_dataset(40))
    env = HeadPruningEnv(pool=folders, data=str(tmp_path / "clean.jsonl"))
    assert list(env.core.pool.names) == folders
    for folder in folders:
        _, info = env.reset(options={"model": folder})
        assert info["model"] == folder
        subject = env.core.pool.find(folder).subject
        assert pickle.loads(pickle.dumps(subject)).name == folder
