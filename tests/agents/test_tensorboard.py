"""What TensorBoard is told."""

import signal
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

import prune_env  # noqa: F401 - registers the environments
from prune_env.agents import training
from prune_env.agents.callbacks import (
    chain,
)
from prune_env.agents.epsilon_greedy.agent import EpsilonGreedy
from prune_env.agents.interrupt import Interrupt
from prune_env.agents.mask_picture import CELL, corner, mask_picture
from prune_env.agents.tensorboard import TensorBoard
from prune_env.agents.training import train
from tests.agents.support import SETTINGS


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
    assert last["rollout/return"] * 8 == pytest.approx(seen[-1].info["heads_pruned"])
    same = {"reward/sparsity", "mask/heads_pruned", "mask/sparsity"}  # as the return
    assert not same & set(last)
    assert last["train/epsilon"] == pytest.approx(agent.epsilon)
    assert last["time/evaluations_per_second"] > 0
    assert last["time/memo_hit_rate"] == 0  # a landscape remembers nothing
    assert {"train/loss", "rollout/length", "mask/accuracy", "best_met/return"} <= set(last)
    assert "time/evaluations" in last
    assert [event.value for event in events.Scalars("agent/return")] == [0.25]
    assert len(events.Scalars("best_met/return")) == len(seen)  # HParams add no points of their own
    assert set(events.Tags()["images"]) == {
        "mask/of_last_episode",
        "mask/best_met",
        "mask/of_best_agent",
    }
    best = events.Tensors("run/best_mask_met/text_summary")[-1].tensor_proto.string_val[0].decode()
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
    assert {f"mask/of_last_episode/{name}" for name in pool} <= set(images)
    assert f"mask/best_met/{agent.record.best_model}" in images
    best = events.Tensors("run/best_mask_met/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert f"| model | {agent.record.best_model} |" in best


def test_a_mask_is_drawn_head_by_head():
    for shape in ((1, 3), (6, 12), (12, 16)):
        mask = np.random.default_rng(0).random(shape) < 0.5
        picture = mask_picture(mask)
        for place in np.ndindex(shape):
            x, y = corner(*place)
            assert (picture[y + CELL // 2, x + CELL // 2].sum() < 400) == mask[place]


def test_a_reward_of_several_terms_has_a_curve_for_each(tmp_path: Path):
    env = gym.make(
        "prune_env/Landscape-v0",
        model="landscape:layers=2,heads=4",
        tau=0.8,
        reward="sparsity + 0.5 * accuracy",
    )
    tensorboard = TensorBoard(SummaryWriter(str(tmp_path)), [env.unwrapped.evaluator], {}, {})
    EpsilonGreedy.for_env(env).learn(env, total_steps=10, callback=tensorboard)
    tensorboard.close()
    tags = set(EventAccumulator(str(tmp_path)).Reload().Tags()["scalars"])
    assert {"reward/sparsity", "reward/accuracy", "mask/heads_pruned", "rollout/return"} <= tags


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
    assert len(text.splitlines()) == 2 + 2  # heading, rule; two settings
    assert "a\\|b" in text
    assert "!\\[x\\]" in text
    assert "<img" not in text


def _last_tests(folder: Path) -> tuple[list[int], list[int]]:
    """Return the steps of the tests without exploration, and those of their pictures."""
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0}).Reload()
    drawn = events.Images("mask/of_best_agent")
    return [each.step for each in events.Scalars("agent/return")], [each.step for each in drawn]


class _Stops(Interrupt):
    """Stops as a signal would, after some questions."""

    asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        self.signal = signal.SIGTERM if self.asked > 14 else None
        return self.signal is not None


def test_a_run_that_is_resumed_has_the_points_and_pictures_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = replace(SETTINGS, total_steps=240)
    train(settings, tmp_path / "whole")
    whole = _last_tests(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(training, "Interrupt", _Stops)
        assert train(settings, tmp_path / "run").signal == signal.SIGTERM
    for _ in range(2):  # the second time it only ends once more
        train(settings, tmp_path / "run", resume=True)
        assert _last_tests(tmp_path / "run") == whole
