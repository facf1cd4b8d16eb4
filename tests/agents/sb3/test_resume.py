"""A training that was killed ends as if it had not been, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import prune_env  # noqa: F401 - registers the environments
from prune_env.agents import load_agent
from prune_env.agents.checkpoint import read_checkpoint, write_checkpoint
from prune_env.agents.sb3.training_state import write_state
from prune_env.env.policy import POLICIES
from prune_env.errors import StateError

POOL = ["landscape:layers=2,heads=3,seed=1", "landscape:layers=3,heads=2,seed=2"]
STEPS = 160


def _env() -> gym.Env:
    return gym.make("prune_env/HeadPruning-v0", pool=POOL, tau=0.8, max_episode_steps=5)


def _agent(algorithm: str):
    hyperparameters = {"width": 8, "num_envs": 4}
    if algorithm == "dqn":
        hyperparameters |= {"learning_starts": 20, "buffer_size": 100, "target_update_interval": 12}
    else:
        hyperparameters |= (
            {"n_steps": 8} if algorithm == "a2c" else {"n_steps": 8, "batch_size": 16}
        )
    return POLICIES[algorithm].for_env(_env(), seed=3, hyperparameters=hyperparameters)


def _assert_equal(one, other):
    assert one.record.state() == other.record.state()
    for name, value in one.network.state_dict().items():
        assert (value == other.network.state_dict()[name]).all(), name
    (spec, tensors), (spec_other, tensors_other) = (write_state(a._model) for a in (one, other))
    assert spec == spec_other
    assert tensors.keys() == tensors_other.keys()
    for name, value in tensors.items():
        assert np.array_equal(value, tensors_other[name]), name


@pytest.mark.parametrize("algorithm", ["a2c", "dqn", "maskable_ppo", "ppo"])
def test_resumed_in_the_middle_it_ends_bit_equal(algorithm: str, tmp_path: Path):
    def die(report) -> bool:
        return report.steps < STEPS // 2

    broken = _agent(algorithm)
    broken.learn(_env(), total_steps=STEPS, callback=die, save_to=tmp_path, save_every=32)
    newest = max(tmp_path.glob("*.json"))
    newest.unlink()  # the save at the end, which a kill would have prevented
    resumed = load_agent(tmp_path)
    assert 0 < resumed.record.steps < broken.record.steps
    np.random.seed(99)
    resumed.learn(_env(), total_steps=STEPS)
    _assert_equal(resumed, _agent(algorithm).learn(_env(), total_steps=STEPS))


def test_a_request_to_stop_saves_where_nothing_is_half_done(tmp_path: Path):
    asked = iter([False, False, True])
    stopped = _agent("ppo")
    stopped.learn(_env(), total_steps=STEPS, save_to=tmp_path, stop_requested=lambda: next(asked))
    resumed = load_agent(tmp_path)
    assert resumed.record.steps == 64
    resumed.learn(_env(), total_steps=STEPS)
    _assert_equal(resumed, _agent("ppo").learn(_env(), total_steps=STEPS))


SCRIPT = """
import sys, torch, gymnasium as gym
torch.set_num_threads(1)
from tests.agents.sb3.test_resume import _agent, _env
_agent(sys.argv[1]).learn(_env(), total_steps=1_000_000, save_to=sys.argv[2], save_every=8)
"""


def test_killed_at_any_moment_it_resumes_bit_equal(tmp_path: Path):
    """The process is killed without warning; its newest whole checkpoint is gone on with."""
    root = Path(__file__).resolve().parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "dqn", str(tmp_path)],
        cwd=root,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        while len(list(tmp_path.glob("*.json"))) < 2 and process.poll() is None:
            time.sleep(0.01)
        time.sleep(float(np.random.default_rng().random()) / 5)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    resumed = load_agent(tmp_path)
    total = resumed.record.steps + 40
    # The script's schedules belong to a million steps, so compare at its own pace.
    expected = _agent("dqn")
    expected.learn(
        _env(), total_steps=1_000_000, callback=None, stop_requested=_after(expected, total)
    )
    resumed.learn(_env(), total_steps=1_000_000, stop_requested=_after(resumed, total))
    _assert_equal(resumed, expected)


def _after(agent, steps: int):
    return lambda: agent.record.steps >= steps


def test_another_number_of_environments_is_refused(tmp_path: Path):
    _agent("ppo").learn(_env(), total_steps=64, save_to=tmp_path)
    agent = load_agent(tmp_path)
    agent.hyperparameters["num_envs"] = 2
    with pytest.raises(StateError, match="another number of episodes"):
        agent.learn(_env(), total_steps=128)


def test_a_replay_buffer_that_lacks_a_part_of_the_observation_is_refused(tmp_path: Path):
    _agent("dqn").learn(_env(), total_steps=32, save_to=tmp_path)
    agent = load_agent(tmp_path)
    del agent._loaded.tensors["buffer.observations.legal"]
    with pytest.raises(StateError, match=r"replay buffer.*no observations\.legal"):
        agent.learn(_env(), total_steps=64)


@pytest.mark.parametrize(
    "change",
    [
        lambda training: training.pop("random"),
        lambda training: training.update(counters=3),
        lambda training: training.update(envs=[]),
    ],
)
def test_a_state_of_another_shape_is_refused(change, tmp_path: Path):
    _agent("a2c").learn(_env(), total_steps=32, save_to=tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    change(checkpoint.spec["training"])
    write_checkpoint(tmp_path, checkpoint)
    agent = load_agent(tmp_path)
    with pytest.raises(StateError, match="has not the shape"):
        agent.learn(_env(), total_steps=64)


def test_a_state_sets_counters_and_no_other_attribute(tmp_path: Path):
    _agent("a2c").learn(_env(), total_steps=32, save_to=tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    checkpoint.spec["training"]["counters"].update(gamma=-1.0, learn="gone")
    write_checkpoint(tmp_path, checkpoint)
    agent = load_agent(tmp_path)
    agent.learn(_env(), total_steps=64)
    assert agent._model.gamma > 0


@pytest.mark.parametrize("algorithm", ["dqn", "ppo"])
def test_what_is_loaded_and_saved_again_goes_on_alike(algorithm: str, tmp_path: Path):
    _agent(algorithm).learn(_env(), total_steps=STEPS // 2, save_to=tmp_path / "x")
    load_agent(tmp_path / "x").save(tmp_path / "y")
    one, other = (read_checkpoint(tmp_path / name) for name in "xy")
    assert one.spec == other.spec
    assert one.spec["training"] is not None
    assert one.tensors.keys() == other.tensors.keys()
    again = [load_agent(tmp_path / name).learn(_env(), total_steps=STEPS) for name in "xy"]
    _assert_equal(*again)
    load_agent(tmp_path / "x").save(tmp_path / "z", weights_only=True)
    assert read_checkpoint(tmp_path / "z").spec["training"] is None


def test_no_agent_is_saved_where_one_of_later_steps_would_be_read(tmp_path: Path):
    _agent("dqn").learn(_env(), total_steps=STEPS, save_to=tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    younger = _agent("dqn").learn(_env(), total_steps=STEPS // 4)
    with pytest.raises(StateError, match="another training"):
        younger.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
