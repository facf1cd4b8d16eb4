"""Agents of Stable-Baselines3 as policies of this package."""

import copy
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate_masked
from stable_baselines3.common.evaluation import evaluate_policy

import prune_env  # noqa: F401 - registers the environments
from prune_env.agents import load_agent
from prune_env.agents.checkpoint import Checkpoint, write_checkpoint
from prune_env.agents.sb3.vec_env import PruneVecEnv
from prune_env.env.policy import POLICIES, Policy
from prune_env.errors import SettingsError, StateError
from tests.agents.observations import random_observation

POOL = [f"landscape:layers=2,heads=4,seed={seed}" for seed in range(4)]
ALGORITHMS = ["a2c", "dqn", "maskable_ppo", "ppo"]


def _env(model: str = "landscape:layers=2,heads=4") -> gym.Env:
    return gym.make("prune_env/Landscape-v0", model=model, tau=0.8)


def _agent(algorithm: str, **arguments):
    short = {"n_steps": 8}
    if algorithm == "dqn":
        short = {"learning_starts": 8, "buffer_size": 100}
    elif algorithm != "a2c":
        short["batch_size"] = 16
    hyperparameters = {"width": 8, "num_envs": 2} | short
    return POLICIES[algorithm].for_env(_env(), hyperparameters=hyperparameters, **arguments)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_batch_and_single_answer_alike_and_legally(algorithm: str):
    agent = _agent(algorithm)
    assert isinstance(agent, Policy)
    batch = random_observation(16, metrics=4)
    masks = np.random.default_rng(0).random((16, 13)) > 0.6
    masks[:, -1] = True
    actions, _ = agent.predict(batch, deterministic=True, action_masks=masks)
    for index in range(16):
        single = {key: value[index] for key, value in batch.items()}
        action, _ = agent.predict(single, deterministic=True, action_masks=masks[index])
        assert np.shape(action) == ()
        assert action == actions[index]
    for _ in range(3):
        free, _ = agent.predict(batch, action_masks=masks)
        assert masks[np.arange(16), free].all()
    unmasked, _ = agent.predict(batch)
    kept = np.concatenate([batch["mask"].reshape(16, -1) > 0, np.ones((16, 1), bool)], axis=1)
    assert kept[np.arange(16), unmasked].all()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_trained_on_one_shape_it_plays_and_learns_on_another(algorithm: str, tmp_path: Path):
    agent = _agent(algorithm).learn(_env(), total_steps=40)
    before = {name: value.clone() for name, value in agent.network.state_dict().items()}
    agent.save(tmp_path, weights_only=True)
    loaded = load_agent(tmp_path)
    assert all((loaded.network.state_dict()[name] == value).all() for name, value in before.items())
    wider = _env("landscape:layers=3,heads=5")
    mean, _ = evaluate_policy(loaded, wider, n_eval_episodes=2, warn=False)
    assert 0 <= mean <= 1
    loaded.learn(wider, total_steps=80)
    assert loaded.record.steps >= 80
    assert any((loaded.network.state_dict()[n] != value).any() for n, value in before.items())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_in_an_equal_environment_memory_and_optimiser_stay(algorithm: str):
    agent = _agent(algorithm).learn(_env(), total_steps=40)
    moments = copy.deepcopy(agent._model.policy.optimizer.state_dict()["state"])
    assert moments
    held = agent._model.replay_buffer.size() if algorithm == "dqn" else None
    agent.learn(_env(), total_steps=42)  # of DQN a step in each environment, and no update
    assert agent.record.steps > 40
    if held is not None:
        assert agent._model.replay_buffer.size() == held + 1
    steps = [
        (before["step"], after["step"])
        for before, after in zip(
            moments.values(),
            agent._model.policy.optimizer.state_dict()["state"].values(),
            strict=True,
        )
        if "step" in before
    ]
    assert all(after >= before for before, after in steps)


def test_what_is_learned_in_another_environment_depends_on_the_seed_alone():
    def learned(seed: int) -> dict[str, torch.Tensor]:
        agent = _agent("ppo", seed=seed)
        for steps in (32, 64):
            pool = gym.make("prune_env/HeadPruning-v0", pool=POOL, tau=0.8)  # a model is drawn
            agent.learn(pool, total_steps=steps)
        return agent.network.state_dict()

    first, again, other = learned(0), learned(0), learned(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_policy_saved_by_itself_keeps_its_width(algorithm: str, tmp_path: Path):
    policy = _agent(algorithm).learn(_env(), total_steps=16)._model.policy
    policy.save(tmp_path / "policy")
    loaded = type(policy).load(tmp_path / "policy")
    assert loaded.features_extractor_kwargs == {"width": 8}
    for name, value in policy.state_dict().items():
        assert (loaded.state_dict()[name] == value).all()


def test_a_dqn_that_will_only_fill_its_memory_says_so(caplog):
    agent = _agent("dqn")
    agent.learn(_env(), total_steps=8)
    assert "Of 8 steps nothing is learned: the first 8 only fill the memory" in caplog.text
    caplog.clear()
    agent.learn(_env(), total_steps=40)
    assert not caplog.text


def test_evaluation_with_masks_takes_it(recwarn):
    agent = _agent("maskable_ppo")
    mean, _ = evaluate_masked(agent, PruneVecEnv.beside(_env(), 2), n_eval_episodes=4)
    assert 0 <= mean <= 1
    assert not recwarn.list


def test_episodes_are_reported_and_a_callback_can_end_it():
    seen = []

    def stop_at_three(report) -> bool:
        seen.append(report)
        return report.number < 3

    agent = _agent("ppo").learn(_env(), total_steps=5000, callback=stop_at_three)
    assert agent.record.episodes <= 4  # two environments may end in the same step
    for report in seen:
        assert report.total_reward == pytest.approx(report.info["episode"]["r"])
        assert report.total_reward == pytest.approx((~report.mask).mean())
        assert report.length == report.info["episode"]["l"]
    assert agent.best_return == max(report.total_reward for report in seen)
    agent.learn(_env(), total_steps=agent.record.steps + 100)  # and it goes on after that


@pytest.mark.parametrize("algorithm", ["dqn", "ppo"])
def test_learning_leaves_no_folder_behind(algorithm: str, tmp_path: Path, monkeypatch):
    """The logger that an algorithm makes of itself has one, in the temporary folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    _agent(algorithm).learn(_env(), total_steps=32)
    assert not list(tmp_path.iterdir())


def test_losses_and_entropy_are_among_the_figures():
    seen = []
    _agent("ppo").learn(_env(), total_steps=64, callback=seen.append)
    assert {"train/entropy", "train/value_loss"} <= set(seen[-1].figures)
    assert seen[-1].figures["train/entropy"] > 0
    _agent("dqn").learn(_env(), total_steps=64, callback=seen.append)
    assert {"train/loss", "train/epsilon"} <= set(seen[-1].figures)


@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_schedules_follow_the_budget_of_evaluations(algorithm: str):
    env = _env()
    agent = _agent(algorithm)
    before = env.unwrapped.evaluator.evaluations
    agent.learn(env, total_steps=100_000, max_evaluations=60)
    assert 60 <= env.unwrapped.evaluator.evaluations - before <= 66
    assert agent._model._current_progress_remaining < 0.2


def test_random_actions_of_dqn_are_legal():
    agent = _agent("dqn")
    illegal = []
    agent.learn(_env(), total_steps=60, callback=lambda r: illegal.append(r.info["illegal"]))
    assert illegal
    assert not any(illegal)


def test_the_seed_decides_everything():
    one, same, other = (
        _agent("a2c", seed=seed).learn(_env(), total_steps=64) for seed in (1, 1, 2)
    )
    assert one.record.state() == same.record.state()
    states = [agent.network.state_dict() for agent in (one, same, other)]
    assert all((states[0][name] == states[1][name]).all() for name in states[0])
    assert any((states[0][name] != states[2][name]).any() for name in states[0])


def test_other_metrics_and_other_agents_are_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match="4 importance metrics"):
        _agent("ppo").predict(random_observation(1, metrics=3))
    write_checkpoint(tmp_path, Checkpoint("dqn", 1, {}, {}))
    with pytest.raises(StateError, match=r"another kind.*Expected: ppo"):
        POLICIES["ppo"].load(tmp_path)


def test_masking_by_the_network_is_masking():
    """With the same seed PPO and MaskablePPO train alike, since the network knows the masks."""
    plain, masked = (_agent(name).learn(_env(), total_steps=64) for name in ("ppo", "maskable_ppo"))
    assert plain.record.state() == masked.record.state()


@pytest.mark.parametrize(
    "rules",
    [{"min_heads_per_layer": 0, "tau": 0.0}, {"min_heads_per_layer": 2}, {"tau": 1.0}],
    ids=["no head must stay", "two heads must stay", "the unpruned model is below tau"],
)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_learns_and_plays_by_the_rules_of_the_environment(algorithm: str, rules: dict):
    arguments = {"model": "landscape:layers=2,heads=3", "tau": 0.8} | rules
    env = gym.make("prune_env/Landscape-v0", **arguments)
    envs = _Noting(PruneVecEnv.beside(env, 2))
    agent = _agent(algorithm).learn(envs, total_steps=120)
    assert len(envs.refusals) >= 120
    assert not any(envs.refusals)
    emptied = [~mask.any(axis=1).all() for mask in envs.masks]
    assert any(emptied) == (rules.get("min_heads_per_layer") == 0)
    shown = gym.make(
        "prune_env/Landscape-v0", observation="mask,importance,status,legal", **arguments
    )
    for told in (False, True):
        observation, info = (env if told else shown).reset(seed=0)
        done = False
        while not done:
            masks = info["action_mask"].astype(bool) if told else None
            action, _ = agent.predict(observation, action_masks=masks)
            observation, _, terminated, truncated, info = (env if told else shown).step(int(action))
            assert not info["illegal"]
            done = terminated or truncated


class _Noting(PruneVecEnv):
    """Notes what every step told; made of another one's episodes."""

    def __init__(self, envs: PruneVecEnv) -> None:
        super().__init__(envs.core)
        self.refusals: list[str] = []
        self.masks: list[np.ndarray] = []

    def step_wait(self):
        answer = super().step_wait()
        self.refusals += [info["illegal"] for info in answer[3]]
        self.masks += [info["mask"] for info in answer[3]]
        return answer


def test_the_last_head_of_a_layer_is_played_where_the_environment_allows_it():
    agent = _agent("ppo")
    observation = random_observation(1, layers=1, heads=2, metrics=4)
    observation["mask"][0, 0] = [1, 0]
    masks = [[True, False, True]]
    free = [agent.predict(observation, action_masks=masks)[0] for _ in range(50)]
    assert {int(action[0]) for action in free} == {0, 2}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_refuses_to_learn_from_other_metrics(algorithm: str):
    other = gym.make(
        "prune_env/Landscape-v0",
        model="landscape:layers=2,heads=4",
        metrics="attention_entropy,magnitude",
    )
    for metrics in (("magnitude", "cls_variance"), ("magnitude",)):
        for env in (other, PruneVecEnv.beside(other, 2)):
            with pytest.raises(SettingsError, match=r"other importance metrics.*attention_entropy"):
                POLICIES[algorithm](metrics).learn(env, total_steps=10)


def test_a_wrapper_that_would_not_be_heard_is_refused():
    paid = gym.wrappers.TransformReward(_env(), lambda reward: 0.0)
    with pytest.raises(SettingsError, match=r"plays copies.*without TransformReward"):
        _agent("ppo").learn(paid, total_steps=16)
    watched = gym.wrappers.RecordEpisodeStatistics(_env())
    assert _agent("ppo").learn(watched, total_steps=16).record.steps >= 16
