"""Tools of others take the environment as it is; docs/clients.md shows the same."""

import ast
import re
import shlex
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize

from prune_env.agents.sb3.policies import SetActorCriticPolicy
from prune_env.agents.sb3.vec_env import PruneVecEnv
from prune_env.errors import SettingsError

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"
SNIPPET = re.compile(r"(?:<!-- (needs: \w+|run by hand) -->\n)?```python\n(.*?)```", re.DOTALL)
SMALL = {"model": "landscape:layers=2,heads=4", "tau": 0.8}
FAST = {"n_steps": 32, "batch_size": 32, "n_epochs": 1}


def single(**arguments):
    return gym.make("prune_env/Landscape-v0", **SMALL, **arguments)


def beside(**arguments):
    return PruneVecEnv.beside(single(**arguments), num_envs=2)


def vectorised(**arguments):
    return make_vec_env("prune_env/Landscape-v0", 2, env_kwargs={**SMALL, **arguments})


@pytest.mark.parametrize("make", [beside, vectorised])
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("wrapper", [VecNormalize, partial(VecFrameStack, n_stack=3)])
def test_wrappers_of_stable_baselines3_take_every_part(make, flat, wrapper):
    envs = wrapper(make(flat=flat))
    model = PPO("MultiInputPolicy", envs, **FAST).learn(64)
    observations = envs.reset()
    for name, value in observations.items():
        assert value.shape[1:] == envs.observation_space[name].shape
        assert np.isfinite(value).all()
    actions, _ = model.predict(observations)
    assert actions.shape == (2,)


def test_the_set_network_reads_one_observation():
    with pytest.raises(SettingsError, match="leave VecFrameStack out"):
        PPO(SetActorCriticPolicy, VecFrameStack(beside(), n_stack=3))


def test_a_function_masks_through_a_time_limit():
    env = ActionMasker(single(flat=True), lambda env: env.get_wrapper_attr("action_masks")())
    model = MaskablePPO("MultiInputPolicy", env, **FAST).learn(32)
    observation, info = env.reset(seed=0)
    legal = env.action_masks()
    np.testing.assert_array_equal(legal, info["action_mask"])
    action, _ = model.predict(observation, action_masks=legal)
    assert env.step(action)[4]["illegal"] == ""


def test_one_vector_for_networks_that_know_no_dict():
    env = gym.wrappers.FlattenObservation(single())
    assert env.observation_space == spaces.Box(
        env.observation_space.low, env.observation_space.high, (8 * 5 + 4,), np.float32
    )
    assert PPO("MlpPolicy", env, **FAST).learn(32).num_timesteps == 32


def test_the_snippets_of_the_page_run() -> None:
    """One after the other; those of a tool that is not installed are left out."""
    found = SNIPPET.findall(PAGE.read_text("utf-8"))
    assert {when for when, _ in found} == {"", "needs: torchrl", "run by hand"}
    names: dict = {}
    for when, code in found:
        compile(code, str(PAGE), "exec")
        if not when or (when == "needs: torchrl" and find_spec("torchrl") is not None):
            exec(compile(code, str(PAGE), "exec"), names)
    assert isinstance(names["model"], MaskablePPO)
    assert names["terminations"].shape == (2,)


def test_what_rllib_makes_is_made_in_a_process_that_imported_nothing() -> None:
    [code] = [code for _, code in SNIPPET.findall(PAGE.read_text("utf-8")) if "rllib" in code]
    [made] = [each for each in ast.parse(code).body if isinstance(each, ast.FunctionDef)]
    play = 'make({"tau": 0.8, "end_on_illegal": True}).reset(seed=0)'
    script = f"import gymnasium as gym\n{ast.unparse(made)}\n{play}"
    command = [sys.executable, "-c", script]
    played = subprocess.run(command, check=False, capture_output=True, text=True)
    assert played.returncode == 0, played.stderr


def test_rl_zoo_plays_what_it_trained() -> None:
    """It trains into `logs`, and by default looks for agents in a folder of its own."""
    lines = PAGE.read_text("utf-8").replace("\\\n", " ").splitlines()
    [words] = [shlex.split(line) for line in lines if line.startswith("python -m rl_zoo3.enjoy")]
    assert words[words.index("-f") + 1] == "logs"
    assert "--stochastic" in words
