"""Two scores are of the same game: one precision, one model, and none of what others found."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from prune_env.env.recorded import recorded_of
from prune_env.env.subjects import find_subject
from prune_env.errors import UnknownNameError
from prune_env.evaluation import mask_evaluator
from prune_env.importance import DEFAULT_METRICS
from prune_env.models import forward
from prune_env.models.masks import Mask
from prune_env.research.score.entrant import PolicyEntrant, find_entrant
from prune_env.research.score.game import TaskGame
from prune_env.research.score.masks_file import NAME, FinalMask
from prune_env.research.score.reference import find_reference
from prune_env.research.score.scoring import SCORE, score
from prune_env.research.score.suite import Suite, read_suite
from prune_env.utils import runtime

(TINY,) = read_suite("v1").tasks_of(["tiny"])
(RECORDED,) = read_suite("v1").tasks_of(["recorded"])
TASK = replace(TINY, budget=12)
SUITE = Suite("test", (0,), (TASK,))


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[bool]:
    """On a processor that has bf16: whether each pass or evaluator took it."""
    monkeypatch.delenv(runtime.VARIABLE, raising=False)
    monkeypatch.setattr(runtime, "processor_has_bf16", lambda: True)
    taken: list[bool] = []

    def spy(choose: Callable[..., bool]) -> Callable[..., bool]:
        def told(*asked: Any) -> bool:
            taken.append(choose(*asked))
            return taken[-1]

        return told

    for module in (mask_evaluator, forward):
        monkeypatch.setattr(module, "use_bf16", spy(runtime.use_bf16))
    return taken


def test_a_scoring_computes_in_fp32_and_leaves_nothing_of_it(
    chosen: list[bool], tmp_path: Path
) -> None:
    shared = find_subject("tiny", None, DEFAULT_METRICS)
    assert shared.suspect is not None
    known = dict(shared.suspect.facts)
    report = score(find_entrant("random", SUITE), SUITE, ["tiny"], tmp_path)
    assert chosen
    assert not any(chosen)
    assert runtime.use_bf16("auto", torch.device("cpu"))  # and now as before
    assert shared.suspect.facts == known
    assert find_subject("tiny", None, DEFAULT_METRICS).suspect is shared.suspect
    told = json.loads((tmp_path / SCORE).read_text())
    assert told["models"] == {"tiny": shared.evaluator.fingerprint}
    assert told["precision"] == "fp32"
    chosen.clear()
    assert report.references == {"tiny": find_reference(TaskGame(TASK))}


def test_masks_that_were_found_in_another_precision_are_found_again(tmp_path: Path) -> None:
    suite = Suite("test", (0,), (replace(TASK, reward="sparsity"),))
    score(find_entrant("random", suite), suite, ["tiny"], tmp_path)
    held = json.loads((tmp_path / NAME).read_text())
    run = held["masks"]["tiny"]["0"]
    for change, plays in (({}, False), ({"precision": "bf16"}, True), ({"model": "0"}, True)):
        held["masks"]["tiny"]["0"] = {**run, "pruned": {}, **change}
        (tmp_path / NAME).write_text(json.dumps(held))
        score(find_entrant("random", suite), suite, ["tiny"], tmp_path)
        now = json.loads((tmp_path / NAME).read_text())["masks"]["tiny"]["0"]
        assert (now == run) is plays


def test_players_hold_no_recorded_lfr_and_the_same_game_to_the_last_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = gym.make(RECORDED.env, **RECORDED.arguments(DEFAULT_METRICS)).unwrapped
    whole = env.subject.evaluator
    masks = np.random.default_rng(0).random((20, *whole.shape)) < 0.8
    refused = []

    def peek(self: PolicyEntrant, game: TaskGame, seed: int) -> FinalMask:
        seen = recorded_of(game.subject.evaluator)
        assert seen is not None
        with pytest.raises(UnknownNameError):
            seen.column("lfr_calibrated", masks)
        for name in seen.facts["columns"]:
            np.testing.assert_array_equal(seen.column(name, masks), whole.column(name, masks))
        assert set(whole.facts["columns"]) - set(seen.facts["columns"]) == {"lfr_calibrated"}
        refused.append(seed)
        mask: Mask = whole.available
        return FinalMask(mask, None)

    monkeypatch.setattr(PolicyEntrant, "play", peek)
    suite = Suite("test", (0,), (replace(RECORDED, budget=2),))
    (run,) = score(find_entrant("random", suite), suite, ["recorded"]).runs
    assert refused == [0]
    assert run.lfr == 1 - (1 - whole.column("lfr_calibrated", whole.available[None])[0])
