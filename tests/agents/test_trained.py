"""A trained agent where a policy's name stands."""

import shutil
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import prune_env  # noqa: F401 - registers the environments
from prune_env.agents.callbacks import play
from prune_env.agents.epsilon_greedy.agent import EpsilonGreedy
from prune_env.agents.shipped import RECORDED, SHIPPED
from prune_env.agents.trained import TrainedPolicy, load_agent
from prune_env.env.policy import POLICIES, find_policy, requirements_of
from prune_env.errors import SettingsError, StateError, UnknownNameError
from prune_env.importance import DEFAULT_METRICS
from tests.agents.observations import random_observation

MODEL = "landscape:layers=2,heads=4"


def _env(metrics: tuple[str, ...] = DEFAULT_METRICS) -> gym.Env:
    return gym.make("prune_env/Landscape-v0", model=MODEL, tau=0.8, metrics=metrics)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("agent")
    agent = EpsilonGreedy.for_env(_env(), hyperparameters={"hidden": 8})
    agent.learn(_env(), total_steps=100).save(path, weights_only=True)
    return path


def test_it_plays_as_the_agent_and_does_not_learn(folder: Path):
    player = find_policy(str(folder)).for_env(_env(), seed=5)
    assert not hasattr(player, "learn")
    agent = EpsilonGreedy.load(folder)
    assert play(_env(), player, MODEL) == play(_env(), agent, MODEL)


@pytest.mark.parametrize("name", ["trained-ppo", "trained-epsilon-greedy", "carried-over"])
def test_equal_seeds_explore_alike_whoever_plays_beside(name: str):
    def actions(seed: int) -> list[int]:
        player = POLICIES[name].for_env(env, seed=seed)
        other = POLICIES[name].for_env(env, seed=seed)
        other.predict(batch)
        return player.predict(batch)[0].tolist()

    env = gym.make("prune_env/Landscape-v0", model=MODEL)
    observation = env.reset(seed=0)[0]
    batch = {key: np.stack([value] * 200) for key, value in observation.items()}
    assert actions(0) == actions(0)
    assert actions(0) != actions(1)


def test_players_of_the_released_loop_draw_their_own_groups():
    agent = EpsilonGreedy(("cls_variance",), variant="released")
    batch = random_observation(200, metrics=1)
    first, second = agent.player(3), agent.player(3)
    assert first.predict(batch)[0].tolist() == second.predict(batch)[0].tolist()


def test_it_finds_its_metrics_among_others_in_any_order(folder: Path):
    shuffled = ("magnitude", "attention_entropy", *DEFAULT_METRICS[:3])
    player = TrainedPolicy(folder).for_env(_env(shuffled))
    agent = EpsilonGreedy.load(folder)
    actions = [
        policy.predict(env.reset(seed=0)[0], deterministic=True)[0]
        for policy, env in ((player, _env(shuffled)), (agent, _env()))
    ]
    assert actions[0] == actions[1]
    assert requirements_of(str(folder)).metrics == DEFAULT_METRICS
    with pytest.raises(SettingsError, match="trained on"):
        TrainedPolicy(folder).for_env(_env(("magnitude",)))


def test_the_folder_of_a_run_plays_its_best(folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "run" / "best")
    played = TrainedPolicy(tmp_path / "run")
    assert played.folder == tmp_path / "run" / "best"
    assert played.identity == TrainedPolicy(folder).identity


def test_its_identity_is_that_of_the_agent_that_plays(folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "agent")
    played = TrainedPolicy(tmp_path / "agent")
    told = dict(played.identity)
    shutil.rmtree(tmp_path / "agent")  # or a training went on saving there
    assert played.identity == told


def test_names_come_first_and_wrong_ones_are_told(folder: Path, tmp_path: Path):
    assert find_policy("gradient") is POLICIES["gradient"]
    with pytest.raises(UnknownNameError, match="gradient"):
        find_policy("gradiant")
    with pytest.raises(StateError, match=r"No folder .*nothing/best\. Expected: .*`best`"):
        find_policy(str(tmp_path / "nothing" / "best"))
    with pytest.raises(StateError, match="No usable agent"):
        find_policy(str(tmp_path))
    with pytest.raises(SettingsError, match="no variant"):
        requirements_of(str(folder), "released")


def test_the_released_loop_is_played_as_published():
    required = requirements_of("epsilon-greedy", "released")
    assert (required.prune_step, required.backtrack) == (10, False)
    assert required.metrics == ("cls_variance_released",)
    assert requirements_of("epsilon-greedy").prune_step is None
    with pytest.raises(SettingsError, match="paper or released"):
        requirements_of("epsilon-greedy", "new")
    with pytest.raises(SettingsError, match="no variant"):
        requirements_of("ppo", "released")


def test_a_batch_of_observations_is_answered_as_a_batch(folder: Path):
    observation = _env().reset(seed=0)[0]
    batch = {name: np.stack([value] * 3) for name, value in observation.items()}
    actions, _ = TrainedPolicy(folder).for_env(_env()).predict(batch, deterministic=True)
    assert actions.shape == (3,)


@pytest.mark.parametrize(
    "place", [*SHIPPED.values(), *RECORDED.values()], ids=lambda place: place.name
)
def test_no_agent_that_comes_trained_learned_from_the_trigger(place: Path) -> None:
    folders = [folder for folder in place.iterdir() if folder.is_dir()]
    assert folders
    for each in folders:
        assert "oracle" not in TrainedPolicy(each).identity


def test_an_agent_that_learned_from_the_trigger_says_so(folder: Path, tmp_path: Path) -> None:
    agent = load_agent(folder)
    agent.record.oracle = True
    agent.save(tmp_path, weights_only=True)
    assert TrainedPolicy(tmp_path).identity["oracle"]
    assert load_agent(tmp_path).record.oracle
