"""N environments at once: what Gymnasium's own loop over single ones gives."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import Error
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import prune_env  # noqa: F401 - registers the environments
from prune_env.env.vector_env import HeadPruningVectorEnv
from prune_env.errors import SettingsError, StateError

POOL = ["landscape:layers=2,heads=3,seed=1", "landscape:layers=3,heads=2,seed=2"]
ARGUMENTS = {"pool": POOL, "prune_step": 2, "tau": 0.8}
STEPS = 6


def make_both(num_envs, mode):
    def single():
        return gym.make("prune_env/HeadPruning-v0", max_episode_steps=STEPS, **ARGUMENTS)

    return (
        SyncVectorEnv([single] * num_envs, autoreset_mode=mode),
        HeadPruningVectorEnv(
            num_envs, max_episode_steps=STEPS, autoreset_mode=mode.value, **ARGUMENTS
        ),
    )


def assert_same(one, other):
    assert data_equivalence(one, other, exact=True), f"{one}\n{other}"


@pytest.mark.parametrize("num_envs", [1, 8])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_mode_is_that_of_gymnasium(mode, num_envs):
    reference, envs = make_both(num_envs, mode)
    assert_same(reference.reset(seed=7), envs.reset(seed=7))
    random = np.random.default_rng(0)
    ends = 0
    for _ in range(40):
        actions = random.integers(10, size=num_envs)
        expected, found = reference.step(actions), envs.step(actions)
        assert_same(expected, found)
        assert found[0] in envs.observation_space
        ended = found[2] | found[3]
        ends += ended.sum()
        if mode is AutoresetMode.DISABLED and ended.any():
            assert_same(
                reference.reset(options={"reset_mask": ended}),
                envs.reset(options={"reset_mask": ended}),
            )
    assert ends > 3
    assert found[1].dtype == np.float64


def test_make_vec_gives_the_vector_environment():
    envs = gym.make_vec("prune_env/Landscape-v0", num_envs=8, tau=0.7)
    assert isinstance(envs.unwrapped, HeadPruningVectorEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert envs.unwrapped.core.max_episode_steps == 200
    assert HeadPruningVectorEnv.metadata.get("autoreset_mode") is None
    observations, _ = envs.reset(seed=0)
    assert observations in envs.observation_space
    assert envs.action_space.shape == (8,)
    again = gym.make_vec(gym.envs.registration.EnvSpec.from_json(envs.spec.to_json()))
    assert again.num_envs == 8
    assert again.unwrapped.core.settings.tau == 0.7


def test_gymnasium_wrappers_take_it():
    envs = RecordEpisodeStatistics(gym.make_vec("prune_env/Landscape-v0", num_envs=2))
    envs.reset(seed=0)
    envs.step(np.array([0, 1]))
    infos = envs.step(np.array([72, 72]))[4]
    assert infos["episode"]["l"].tolist() == [2, 2]
    np.testing.assert_allclose(infos["episode"]["r"], 1 / 72)


def test_the_model_is_held_once():
    envs = gym.make_vec("prune_env/Landscape-v0", num_envs=8)
    single = gym.make("prune_env/Landscape-v0").unwrapped
    evaluators = {id(envs.unwrapped.core.pool.boards[0].subject.evaluator), id(single.evaluator)}
    assert len(evaluators) == 1


def test_seeds_may_be_listed():
    envs = HeadPruningVectorEnv(2, **ARGUMENTS)
    one, _ = envs.reset(seed=[4, 5])
    two, _ = envs.reset(seed=4)
    assert_same(one, two)
    with pytest.raises(SettingsError, match="Expected: 2"):
        envs.reset(seed=[1, 2, 3])


@pytest.mark.parametrize(
    "mask", [[True, False], np.array([1, 0]), np.array([False, False]), np.array([True])]
)
def test_a_wrong_reset_mask_is_refused(mask):
    envs = HeadPruningVectorEnv(2, autoreset_mode="Disabled", **ARGUMENTS)
    envs.reset()
    with pytest.raises(SettingsError):
        envs.reset(options={"reset_mask": mask})


def test_disabled_wants_a_reset_after_the_end():
    envs = HeadPruningVectorEnv(2, autoreset_mode=AutoresetMode.DISABLED, **ARGUMENTS)
    envs.reset()
    envs.step(np.array([9, 0]))
    with pytest.raises(StateError, match=r"\[0\]"):
        envs.step(np.array([0, 0]))


def test_misuse_is_named():
    with pytest.raises(SettingsError, match="NextStep"):
        HeadPruningVectorEnv(2, autoreset_mode="never", **ARGUMENTS)
    envs = HeadPruningVectorEnv(2, **ARGUMENTS)
    with pytest.raises(StateError):
        envs.step(np.array([0, 0]))
    envs.reset()
    with pytest.raises(SettingsError):
        envs.step(np.array([0, 0, 0]))
    envs.close()
    envs.close()


def test_pictures_are_one_per_episode():
    envs = HeadPruningVectorEnv(2, render_mode="rgb_array", **ARGUMENTS)
    envs.reset()
    pictures = envs.render()
    assert [picture.shape for picture in pictures] == [(480, 480, 3)] * 2
    assert HeadPruningVectorEnv(1, **ARGUMENTS).render() is None


@pytest.mark.parametrize("seed", [-1, 1.5, "1", [0, -1], [0, 2.0], np.array(1.5)])
def test_a_wrong_seed_is_refused_as_by_the_single_environment(seed):
    with pytest.raises(Error):
        gym.make("prune_env/Landscape-v0").reset(seed=seed)
    with pytest.raises((Error, SettingsError)) as caught:
        HeadPruningVectorEnv(2, **ARGUMENTS).reset(seed=seed)
    assert isinstance(caught.value, SettingsError) == (seed == "1")  # one seed for two episodes


def test_seeds_may_be_numpys():
    plain, numpys, listed = (HeadPruningVectorEnv(2, **ARGUMENTS) for _ in range(3))
    expected = plain.reset(seed=3)
    assert_same(numpys.reset(seed=np.int64(3)), expected)
    assert_same(listed.reset(seed=np.array([3, 4])), expected)


@pytest.mark.parametrize("num_envs", [0, -1, "2", 1.0, True, None])
def test_the_number_of_episodes_is_checked(num_envs):
    with pytest.raises(SettingsError, match=r"num_envs is out of range.*whole number >= 1"):
        HeadPruningVectorEnv(num_envs, **ARGUMENTS)


@pytest.mark.parametrize("steps", [0, "5", 2.5])
def test_the_limit_of_steps_is_checked(steps):
    with pytest.raises(SettingsError, match="max_episode_steps is out of range"):
        HeadPruningVectorEnv(2, max_episode_steps=steps, **ARGUMENTS)


@pytest.mark.parametrize("actions", [3, None, np.array(3), "01", {0: 1, 1: 2}, {0, 1}, [0], []])
def test_actions_are_one_per_episode(actions):
    envs = HeadPruningVectorEnv(np.int64(2), **ARGUMENTS)
    envs.reset()
    with pytest.raises(SettingsError, match=r"Every episode takes one action.*array of 2 actions"):
        envs.step(actions)


def test_an_option_of_no_name_is_refused():
    with pytest.raises(SettingsError, match="Unknown reset option 1"):
        HeadPruningVectorEnv(2, **ARGUMENTS).reset(options={1: 2})


@pytest.mark.filterwarnings("ignore:.*ERROR:UserWarning")  # Gymnasium logs the workers' traces so
def test_asynchronous_environments_tell_an_error_as_it_is():
    envs = gym.make_vec("prune_env/Landscape-v0", num_envs=2, vectorization_mode="async")
    with pytest.raises(SettingsError, match="The model 'nowhere' comes without data") as caught:
        envs.reset(options={"model": "nowhere"})
    assert caught.value.remedy.startswith("give data=")
    envs.close()
