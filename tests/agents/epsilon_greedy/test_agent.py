"""The epsilon-greedy agent: choosing, learning, saving."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import prune_env  # noqa: F401 - registers the environments
from prune_env.agents import load_agent
from prune_env.agents.checkpoint import Checkpoint, write_checkpoint
from prune_env.agents.epsilon_greedy.action_values import ActionValues
from prune_env.agents.epsilon_greedy.agent import EpsilonGreedy
from prune_env.agents.epsilon_greedy.settings import EpsilonGreedySettings
from prune_env.agents.record import EpisodeReport
from prune_env.env.policy import POLICIES, Policy
from prune_env.errors import SettingsError, StateError
from tests.agents.observations import random_observation


def _env(**kwargs) -> gym.Env:
    return gym.make("prune_env/Landscape-v0", **kwargs)


def test_is_a_policy_by_name():
    assert POLICIES["epsilon-greedy"] is EpsilonGreedy
    agent = EpsilonGreedy.for_env(_env(metrics="magnitude"), seed=3)
    assert isinstance(agent, Policy)
    assert agent.metrics == ("magnitude",)


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_single_and_batch_answer_alike(variant: str):
    agent = EpsilonGreedy(("magnitude", "cls_variance"), variant=variant)
    batch = random_observation(4)
    actions, _ = agent.predict(batch, deterministic=True)
    assert actions.shape == (4,)
    for index in range(4):
        single = {key: value[index] for key, value in batch.items()}
        action, _ = agent.predict(single, deterministic=True)
        assert np.shape(action) == ()
        assert action == actions[index]


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("variant", ["paper", "released"])
def test_only_legal_actions_are_chosen(variant: str, deterministic: bool):
    settings = EpsilonGreedySettings(epsilon_start=1.0)
    agent = EpsilonGreedy(("a", "cls_variance"), settings=settings, variant=variant)
    batch = random_observation(64)
    masks = np.random.default_rng(0).random((64, 13)) > 0.7
    masks[:, -1] = True
    actions, _ = agent.predict(batch, deterministic=deterministic, action_masks=masks)
    assert masks[np.arange(64), actions].all()


def test_deterministic_switches_exploration_off():
    settings = EpsilonGreedySettings(epsilon_start=1.0)
    agent = EpsilonGreedy(("a", "b"), settings=settings, seed=0)
    batch = random_observation(64)
    steady = [agent.predict(batch, deterministic=True)[0] for _ in range(2)]
    free = [agent.predict(batch)[0] for _ in range(2)]
    assert np.array_equal(*steady)
    assert not np.array_equal(*free)


def test_epsilon_falls_linearly_and_stays():
    settings = EpsilonGreedySettings(epsilon_start=1.0, epsilon_end=0.2, epsilon_share=0.5)
    assert [settings.epsilon(p) for p in (0, 0.25, 0.5, 1)] == pytest.approx([1, 0.6, 0.2, 0.2])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epsilon_start", 1.5), ("epsilon_start", "abc"), ("trace", -0.1), ("trace", None),
        ("discount", float("nan")), ("hidden", 0), ("hidden", 3.5), ("hidden", True),
        ("memory", 0), ("memory", "abc"), ("learning_rate", 0), ("learning_rate", float("inf")),
        ("learning_rate", {"start": 0.1, "end": 0.0}),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(name: str, value: object):
    with pytest.raises(SettingsError, match=rf"{name}.*Expected: .*Actual: .*Remedy: "):
        EpsilonGreedy.for_env(_env(), hyperparameters={name: value})


def test_an_environment_has_settings_of_its_own_which_the_user_may_change():
    env = gym.make("prune_env/MiniLM-v0", model="landscape:layers=2,heads=4")
    assert EpsilonGreedy.for_env(env).settings == EpsilonGreedySettings(
        learning_rate=3e-3, updates_per_step=4, trace=0.3
    )
    changed = EpsilonGreedy.for_env(env, hyperparameters={"trace": 0.9}).settings
    assert (changed.trace, changed.updates_per_step) == (0.9, 4)
    other = gym.make("prune_env/Landscape-v0", model="landscape:layers=2,heads=4")
    assert EpsilonGreedy.for_env(other).settings == EpsilonGreedySettings()


def test_an_unknown_variant_is_refused():
    with pytest.raises(SettingsError, match="variant"):
        EpsilonGreedy(("a",), variant="other")


def test_other_metrics_are_refused():
    with pytest.raises(SettingsError, match="3 importance metrics"):
        EpsilonGreedy(("a", "b", "c")).predict(random_observation(1))


def test_it_refuses_to_learn_from_other_metrics():
    env = _env(metrics="attention_entropy,magnitude")
    for metrics in (("magnitude", "cls_variance"), ("magnitude",)):
        with pytest.raises(SettingsError, match=r"other importance metrics.*attention_entropy"):
            EpsilonGreedy(metrics).learn(env, total_steps=10)


@pytest.mark.parametrize("rules", [{"min_heads_per_layer": 0, "tau": 0.0}, {"tau": 1.0}])
def test_it_learns_by_the_rules_of_the_environment(rules: dict, recwarn):
    env, seen = _env(model="landscape:layers=2,heads=3", **rules), []
    EpsilonGreedy.for_env(env).learn(env, total_steps=60, callback=seen.append)
    assert not any(episode.info["illegal"] for episode in seen)
    assert all(np.isfinite(episode.figures["train/loss"]) for episode in seen)
    emptied = [~episode.mask.any() for episode in seen]
    assert any(emptied) == ("min_heads_per_layer" in rules)
    assert not recwarn.list


def test_returns_mix_values_and_what_was_paid():
    agent = EpsilonGreedy(("a",), settings=EpsilonGreedySettings(trace=0.5, discount=0.5))
    returns = agent._lambda_returns([1.0, 2.0], [10.0, 4.0], tail=8.0)
    last = 2 + 0.5 * 8
    assert returns.tolist() == [1 + 0.5 * (0.5 * 4 + 0.5 * last), last]


def test_the_budget_of_evaluations_is_kept_and_epsilon_follows_it():
    env = _env()
    agent = EpsilonGreedy.for_env(env)
    before = env.unwrapped.evaluator.evaluations
    agent.learn(env, total_steps=10_000, max_evaluations=50)
    assert 50 <= env.unwrapped.evaluator.evaluations - before <= 52
    assert agent.epsilon == pytest.approx(agent.settings.epsilon_end)


def test_the_best_mask_is_that_of_the_best_episode():
    env, seen = _env(), []
    agent = EpsilonGreedy.for_env(env).learn(env, total_steps=200, callback=seen.append)
    best = max(seen, key=lambda episode: episode.total_reward)
    assert agent.best_return == best.total_reward == pytest.approx((~best.mask).mean())
    assert np.array_equal(agent.best_mask, best.mask)
    assert env.unwrapped.evaluator.accuracy(agent.best_mask[None])[0] >= 0.85


def test_a_callback_can_end_the_learning():
    env = _env()
    agent = EpsilonGreedy.for_env(env)
    agent.learn(env, total_steps=10_000, callback=lambda episode: episode.number < 2)
    assert agent.record.episodes == 2


def test_learning_in_groups_of_ten_works():
    env = _env(prune_step=10)
    agent = EpsilonGreedy.for_env(env).learn(env, total_steps=300)
    assert np.isfinite(agent.best_return)


def test_saved_in_the_middle_it_ends_bit_equal(tmp_path: Path):
    whole = EpsilonGreedy.for_env(_env(), seed=5).learn(_env(), total_steps=300)

    def save_and_die(episode: EpisodeReport) -> bool:
        if episode.number == 6:
            first.save(tmp_path)
        return episode.number < 8  # what came after the save is lost

    first = EpsilonGreedy.for_env(_env(), seed=5)
    first.learn(_env(), total_steps=300, callback=save_and_die)
    resumed = load_agent(tmp_path).learn(_env(), total_steps=300)
    assert resumed.record.state() == whole.record.state()
    state, expected = resumed._values.state(), whole._values.state()
    assert state.keys() == expected.keys()
    assert all(np.array_equal(state[name], expected[name]) for name in expected)
    assert resumed._rng.bit_generator.state == whole._rng.bit_generator.state


def test_another_agents_folder_is_refused(tmp_path: Path):
    write_checkpoint(tmp_path, Checkpoint("dqn", 1, {}, {}))
    with pytest.raises(StateError, match="another kind"):
        EpsilonGreedy.load(tmp_path)
    write_checkpoint(tmp_path, Checkpoint("made-up", 2, {}, {}))
    with pytest.raises(StateError, match="unknown algorithm"):
        load_agent(tmp_path)


def test_the_released_loop_takes_lowest_variance_in_groups_of_ten():
    env = _env(prune_step=10, backtrack=False, tau=0.0)
    agent = EpsilonGreedy.for_env(env, variant="released")
    observation, _ = env.reset(seed=0)
    state, actions = None, []
    for _ in range(20):
        action, state = agent.predict(observation, state, deterministic=True)
        actions.append(int(action))
        observation, *_ = env.step(action)
    variance = observation["importance"][..., 2].ravel()
    assert actions == np.argsort(variance, kind="stable")[:20].tolist()


def test_the_released_loop_makes_a_tenth_of_its_groups_random():
    agent = EpsilonGreedy(("cls_variance",), variant="released", seed=0)
    batch = random_observation(2000, layers=1, heads=8, metrics=1)
    batch["mask"][:] = 1
    greedy = batch["importance"][..., 0].reshape(2000, -1).argmin(axis=1)
    actions, state = agent.predict(batch)
    assert 0.05 < (actions != greedy).mean() < 0.13
    again, _ = agent.predict(batch, state)
    assert np.array_equal(again[state[:, 1] == 0], greedy[state[:, 1] == 0])
    assert state[:, 0].tolist() == [9] * 2000


def test_the_released_loop_neither_learns_nor_does_without_variance():
    with pytest.raises(SettingsError, match="cls_variance"):
        EpsilonGreedy(("magnitude",), variant="released")
    agent = EpsilonGreedy(("cls_variance",), variant="released")
    with pytest.raises(SettingsError, match="learns nothing"):
        agent.learn(_env(metrics="cls_variance"), total_steps=10)


@pytest.mark.parametrize(("tau", "tail"), [(0.0, 7.0), (1.0, 0.0)])
def test_an_episode_that_was_cut_goes_on_in_what_its_last_state_is_worth(
    tau: float, tail: float, monkeypatch: pytest.MonkeyPatch
):
    tails: list[float] = []

    def returns(agent: EpsilonGreedy, rewards: list[float], values: list[float], tail: float):
        tails.append(tail)
        return np.zeros(len(rewards), np.float32)

    monkeypatch.setattr(
        ActionValues, "__call__", lambda _, observation, legal: np.where(legal, 7.0, -np.inf)
    )
    monkeypatch.setattr(EpsilonGreedy, "_lambda_returns", returns)
    env = _env(tau=tau, max_episode_steps=3)
    still = {"epsilon_start": 0.0, "epsilon_end": 0.0}
    EpsilonGreedy.for_env(env, hyperparameters=still).learn(env, total_steps=1)
    assert tails == [tail]


def test_a_loaded_agent_explores_as_much_as_it_did(tmp_path: Path):
    agent = EpsilonGreedy(("a", "b"))
    agent.epsilon = 0.125
    agent.save(tmp_path)
    assert EpsilonGreedy.load(tmp_path).epsilon == 0.125
