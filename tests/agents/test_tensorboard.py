"""What TensorBoard is told."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

import prune_env  # noqa: F401 - registers the environments
from prune_env.agents.callbacks import (
    chain,
)
from prune_env.agents.epsilon_greedy.agent import EpsilonGreedy
from prune_env.agents.tensorboard import TensorBoard, mask_picture


def _env() -> gym.Env:
    return gym.make("prune_env/Landscape-v0", model="landscape:layers=2,heads=4", tau=0.8)


def test_tensorboard_holds_what_a_watcher_needs(tmp_path: Path):
    env = _env()
    agent = EpsilonGreedy.for_env(env)
    ticks = iter(range(10_000))
    tensorboard = TensorBoard(
        SummaryWriter(str(tmp_path)),
        [env.unwrapped.evaluator],
        {"seed": 7},
        {"hidden": 16},
        clock=lambda: float(next(ticks)),
    )
    seen = []
    agent.learn(env, total_steps=150, callback=chain(tensorboard, seen.append))
    mask = np.ones((2, 4), int).tolist()
    tensorboard.tested(
        90, [{"model": "m", "total_reward": 0.25, "accuracy": 0.9, "heads_pruned": 2, "mask": mask}]
    )
    tensorboard.close()
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
    tensorboard = TensorBoard(SummaryWriter(str(tmp_path)), evaluators, {}, {}, image_every=1)
    agent = EpsilonGreedy.for_env(env).learn(env, total_steps=60, callback=tensorboard)
    tensorboard.close()
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
    tensorboard = TensorBoard(
        SummaryWriter(str(tmp_path)), [env.unwrapped.evaluator], {}, {}, subset=40
    )
    EpsilonGreedy.for_env(env).learn(env, total_steps=10, callback=tensorboard)
    tensorboard.close()
    tags = EventAccumulator(str(tmp_path)).Reload().Tags()["scalars"]
    assert "mask/accuracy_on_40_sentences" in tags
    assert "mask/accuracy" not in tags


def test_names_of_strangers_are_shown_as_they_are(tmp_path: Path):
    env = _env()
    settings = {"model": "a|b\n| forged | row |", "data": "![x](http://a.b) <img src=x>"}
    tensorboard = TensorBoard(SummaryWriter(str(tmp_path)), [env.unwrapped.evaluator], settings, {})
    tensorboard.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    text = events.Tensors("run/settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert len(text.splitlines()) == 2 + 3  # heading, rule; two settings and the legend
    assert "a\\|b" in text
    assert "!\\[x\\]" in text
    assert "<img" not in text
