"""What an agent must be shown: it is refused with a message where a part is left out."""

from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import pytest
from stable_baselines3 import PPO

import prune_env  # noqa: F401 - registers the environments
from prune_env.agents.sb3.policies import SetActorCriticPolicy
from prune_env.agents.sb3.vec_env import PruneVecEnv
from prune_env.agents.training import train
from prune_env.env.policy import POLICIES
from prune_env.errors import SettingsError
from tests.agents.support import SETTINGS

REMEDY = r"Remedy: leave `observation` out"


def _env(observation: str = "mask,importance,status") -> gym.Env:
    model = "landscape:layers=2,heads=4"
    return gym.make("prune_env/Landscape-v0", model=model, tau=0.8, observation=observation)


@pytest.mark.parametrize(
    ("observation", "missing"),
    [
        ("mask", "importance, status"),
        ("legal", "mask, importance, status"),
        ("mask,importance", "status"),
    ],
)
@pytest.mark.parametrize("name", ["epsilon-greedy", "dqn", "trained-ppo", "carried-over"])
def test_an_agent_names_the_parts_that_it_lacks(name: str, observation: str, missing: str):
    message = rf"does not show: {missing}\. .*{REMEDY}"
    with pytest.raises(SettingsError, match=message):
        POLICIES[name].for_env(_env(observation))
    with pytest.raises(SettingsError, match=message):
        POLICIES[name].for_env(_env()).predict(_env(observation).reset(seed=0)[0])


@pytest.mark.parametrize("algorithm", ["epsilon-greedy", "ppo"])
def test_no_training_begins_without_them(algorithm: str, tmp_path: Path):
    arguments = {**SETTINGS.env_arguments, "observation": "mask,importance"}
    with pytest.raises(SettingsError, match=f"does not show: status.*{REMEDY}"):
        train(replace(SETTINGS, algorithm=algorithm, env_arguments=arguments), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("algorithm", ["epsilon-greedy", "ppo"])
def test_no_agent_learns_elsewhere_without_them(algorithm: str):
    agent = POLICIES[algorithm].for_env(_env())
    with pytest.raises(SettingsError, match="does not show: importance, status"):
        agent.learn(_env("mask"), total_steps=10)


def test_nor_does_what_stable_baselines_makes():
    envs = PruneVecEnv.beside(_env("mask,status"), 2)
    with pytest.raises(SettingsError, match="does not show: importance"):
        POLICIES["ppo"].for_env(envs)
    with pytest.raises(SettingsError, match="does not show: importance"):
        PPO(SetActorCriticPolicy, envs)


def test_vectors_in_the_place_of_parts_are_told():
    env = gym.wrappers.FlattenObservation(_env())
    with pytest.raises(SettingsError, match=r"Actual: Box"):
        POLICIES["epsilon-greedy"].for_env(env)


def test_the_released_loop_does_without_the_status():
    env = _env("mask,importance")
    agent = POLICIES["epsilon-greedy"].for_env(env, variant="released")
    assert env.action_space.contains(int(agent.predict(env.reset(seed=0)[0])[0]))
