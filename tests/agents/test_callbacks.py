"""TensorBoard, early stop, the best agent."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

import prune_env  # noqa: F401 - registers the environments
from prune_env.agents import load_agent
from prune_env.agents.callbacks import (
    EarlyStop,
    KeepBest,
    chain,
    play,
)
from prune_env.agents.epsilon_greedy.agent import EpsilonGreedy
from prune_env.agents.record import Record
from prune_env.agents.tensorboard import TensorBoard, mask_picture
from prune_env.utils.files import read_json


def _env() -> gym.Env:
    return gym.make("prune_env/Landscape-v0", model="landscape:layers=2,heads=4", tau=0.8)


def _report(record: Record, total: float):
    info = {"mask": np.ones((2, 3), bool), "model": "m", "evaluations": 1}
    return record.add(length=1, reward_terms={"a": total}, info=info, figures={})


def test_a_chain_calls_all_and_ends_if_one_does():
    called = []
    callback = chain(lambda _: called.append(1), lambda _: False, lambda _: called.append(3))
    assert callback(None) is False
    assert called == [1, 3]
    assert chain(lambda _: None, lambda _: True)(None) is True


def test_early_stop_waits_for_patience_and_no_longer():
    record = Record()
    stop, never = EarlyStop(2, record), EarlyStop(None, Record())
    reports = [_report(record, total) for total in (0.2, 0.1, 0.3, 0.3, 0.1)]
    assert all(never(report) for report in reports)
    assert [stop(report) for report in reports] == [True, True, True, True, False]
    assert record.finished
    assert stop(_report(record, 0.5)) is False  # an episode beside it that ends in the same step


def test_with_several_models_the_tests_decide_when_patience_ends():
    record = Record()
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


def test_tensorboard_holds_what_a_watcher_needs(tmp_path: Path):
    env = _env()
    agent = EpsilonGreedy.for_env(env)
    ticks = iter(range(10_000))
    board = TensorBoard(
        SummaryWriter(str(tmp_path)),
        [env.unwrapped.evaluator],
        {"seed": 7},
        {"hidden": 16},
        clock=lambda: float(next(ticks)),
    )
    seen = []
    agent.learn(env, total_steps=150, callback=chain(board, seen.append))
    mask = np.ones((2, 4), int).tolist()
    board.tested(
        90, [{"model": "m", "total_reward": 0.25, "accuracy": 0.9, "heads_pruned": 2, "mask": mask}]
    )
    board.close()
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    returns = events.Scalars("rollout/return")
    assert [event.value for event in returns] == pytest.approx([r.total_reward for r in seen])
    assert [event.step for event in returns] == [r.steps for r in seen]
    last = {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}
    assert last["reward/sparsity"] == pytest.approx(seen[-1].total_reward)
    assert last["mask/heads_pruned"] == seen[-1].info["heads_pruned"]
    assert last["train/epsilon"] == pytest.approx(agent.epsilon)
    assert last["time/evaluations_per_second"] > 0
    assert last["time/memo_hit_rate"] == 0  # a landscape remembers nothing
    assert {"train/loss", "rollout/length", "mask/accuracy", "best/return"} <= set(last)
    assert {"mask/sparsity", "time/evaluations"} <= set(last)
    assert [event.value for event in events.Scalars("test/return")] == [0.25]
    assert len(events.Scalars("best/return")) == len(seen)  # HParams add no points of their own
    assert set(events.Tags()["images"]) == {"mask/last", "mask/best", "mask/test"}
    best = events.Tensors("run/best_mask/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert f"| heads pruned | {8 - np.sum(agent.best_mask)} |" in best
    hyperparameters = events.Tensors("run/hyperparameters/text_summary")[0].tensor_proto.string_val[
        0
    ]
    assert b"| hidden | 16 |" in hyperparameters
    assert b"seed" in events.Tensors("run/settings/text_summary")[0].tensor_proto.string_val[0]
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_of_a_pool_masks_are_shown_under_the_name_of_their_model(tmp_path: Path):
    pool = [f"landscape:layers=2,heads=4,seed={seed}" for seed in (0, 1)]
    env = gym.make("prune_env/Landscape-v0", model=None, pool=pool, tau=0.8)
    evaluators = [board.subject.evaluator for board in env.unwrapped.core.pool.boards]
    board = TensorBoard(SummaryWriter(str(tmp_path)), evaluators, {}, {}, image_every=1)
    agent = EpsilonGreedy.for_env(env).learn(env, total_steps=60, callback=board)
    board.close()
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload()
    images = events.Tags()["images"]
    assert {f"mask/last/{name}" for name in pool} <= set(images)
    assert f"mask/best/{agent.record.best_model}" in images
    best = events.Tensors("run/best_mask/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert f"| model | {agent.record.best_model} |" in best


def test_a_mask_is_drawn_head_by_head():
    mask = np.array([[True, False, True]])
    picture = mask_picture(mask)
    assert picture.shape == (22, 62, 3)
    dark = picture[11, [11, 31, 51]].sum(axis=1) < 400
    assert dark.tolist() == [True, False, True]


def test_the_curve_of_a_part_of_the_sentences_says_so(tmp_path: Path):
    env = _env()
    board = TensorBoard(SummaryWriter(str(tmp_path)), [env.unwrapped.evaluator], {}, {}, subset=40)
    EpsilonGreedy.for_env(env).learn(env, total_steps=10, callback=board)
    board.close()
    tags = EventAccumulator(str(tmp_path)).Reload().Tags()["scalars"]
    assert "mask/accuracy_on_40_sentences" in tags
    assert "mask/accuracy" not in tags
