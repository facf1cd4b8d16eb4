"""Early stop, and the best agent."""

from pathlib import Path

import gymnasium as gym
import numpy as np

import prune_env  # noqa: F401 - registers the environments
from prune_env.agents import load_agent
from prune_env.agents.callbacks import (
    EarlyStop,
    KeepBest,
    chain,
    play,
)
from prune_env.agents.epsilon_greedy.agent import EpsilonGreedy
from prune_env.agents.record import LearningRecord
from prune_env.utils.files import read_json


def _env() -> gym.Env:
    return gym.make("prune_env/Landscape-v0", model="landscape:layers=2,heads=4", tau=0.8)


def _report(record: LearningRecord, total: float):
    info = {"mask": np.ones((2, 3), bool), "model": "m", "evaluations": 1, "accuracy": 0.9}
    return record.add(length=1, reward_terms={"a": total}, info=info, figures={})


def test_a_chain_calls_all_and_ends_if_one_does():
    called = []
    callback = chain(lambda _: called.append(1), lambda _: False, lambda _: called.append(3))
    assert callback(None) is False
    assert called == [1, 3]
    assert chain(lambda _: None, lambda _: True)(None) is True


def test_early_stop_waits_for_patience_and_no_longer():
    record = LearningRecord()
    stop, never = EarlyStop(2, record), EarlyStop(None, LearningRecord())
    reports = [_report(record, total) for total in (0.2, 0.1, 0.3, 0.3, 0.1)]
    assert all(never(report) for report in reports)
    assert [stop(report) for report in reports] == [True, True, True, True, False]
    assert record.finished
    assert stop(_report(record, 0.5)) is False  # an episode beside it that ends in the same step


def test_with_several_models_the_tests_decide_when_patience_ends():
    record = LearningRecord()
    stop = EarlyStop(3, record, by_tests=True)
    assert all(stop(_report(record, 0.0)) for _ in range(5))
    for total, goes_on in ((0.1, True), (0.1, True), (0.0, False)):
        record.add_test(total, 2)
        assert stop(_report(record, 0.0)) is goes_on


def test_the_best_agent_is_kept_and_a_worse_one_is_not(tmp_path: Path):
    env = _env()
    agent = EpsilonGreedy.for_env(env).learn(env, total_steps=100)
    keep = KeepBest(agent, _env(), tmp_path, every=5)
    keep.test(100)
    first = read_json(tmp_path / "best.json")
    agent.predict = lambda observation, *_, **__: (observation["mask"].size, None)  # STOP at once
    keep.test(200)
    assert read_json(tmp_path / "best.json") == first
    model = first["models"][0]
    again = play(_env(), load_agent(tmp_path / "best"), model["model"])
    assert again == model
    assert model["heads_pruned"] == 8 - np.sum(model["mask"]) > 0


def test_of_equally_paid_tests_the_more_accurate_is_kept(tmp_path: Path):
    agent, env = EpsilonGreedy.for_env(_env()), _env()
    keep = KeepBest(agent, env, tmp_path, every=5)
    accuracies = {}
    for head in range(8):
        answers = iter((head, 8))
        agent.predict = lambda *_, answers=answers, **__: (next(answers), None)
        keep.test(head)
        env.reset(seed=0)
        accuracies[head] = env.step(head)[4]["accuracy"]
    best = read_json(tmp_path / "best.json")
    assert best["models"][0]["accuracy"] == max(accuracies.values()) > accuracies[0]
