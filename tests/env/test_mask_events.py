"""What is told of masks while a policy plays or learns."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune_env.env.landscape import landscape_subject
from prune_env.env.mask_events import tell_counts, tell_mask, tell_step, tell_subject
from prune_env.evaluation import MaskEvaluator
from prune_env.evaluation.guard import guard_evaluator
from prune_env.importance.registry import UNIT_METRICS
from prune_env.settings import Guard
from prune_env.utils.events import EVENTS, recording

MASK = np.array([[True, False, True], [True, True, True]])


class Told:
    """The events of a folder, less their kind and time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / EVENTS

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for line in self.path.read_text("utf-8").splitlines()[1:]:
            event = json.loads(line)
            yield {key: value for key, value in event.items() if key not in ("kind", "t")}


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with recording(tmp_path, "test"):
        yield Told(tmp_path)


def test_a_model_is_told_with_its_importance_by_name(told: Told) -> None:
    subject = landscape_subject(layers=2, heads=3)
    tell_subject(subject, 0.8, 0.9)
    (event,) = told
    assert event["available"] == ["111", "111"]
    assert (event["tau"], event["accuracy"], event["heads"]) == (0.8, 0.9, None)
    assert (event["rows"], event["labels"]) == (None, [])  # it has no texts
    assert list(event["importance"]) == list(subject.metrics)
    for index, name in enumerate(subject.metrics):
        assert event["importance"][name] == subject.importance[:, :, index].tolist()


def test_of_other_units_it_is_told_which_columns_are_heads(told: Told) -> None:
    tell_subject(landscape_subject(UNIT_METRICS, 2, 3, groups=2, steps=1), 0.8, 0.9)
    (event,) = told
    assert event["heads"] == 3
    assert event["available"] == ["1" * (3 + 2 + 4)] * 2


def test_a_step_names_its_layer_and_head_and_stop_has_none(told: Told) -> None:
    info = {"mask": MASK, "accuracy": 0.7, "model": "m", "reward_terms": {"sparsity": 0.5}}
    for step, action in enumerate((1, 3, 5, MASK.size), 1):
        tell_step(info, action, 0.25, step)
    events = list(told)
    assert [event["action"] for event in events] == [[0, 1], [1, 0], [1, 2], None]
    assert [event["step"] for event in events] == [1, 2, 3, 4]
    for event in events:
        assert (event["mask"], event["accuracy"]) == (["101", "111"], 0.7)
        assert (event["stage"], event["model"]) == ("search", "m")
        assert (event["reward"], event["terms"]) == (0.25, {"sparsity": 0.5})


def test_masks_that_come_often_are_told_now_and_then(told: Told) -> None:
    for step in range(3):
        tell_mask(MASK, 0.7, "learn", step=step, sometimes=True)
    tell_mask(MASK, 0.6, "chosen", model="m", reward=0.5, terms={"accuracy": 0.5})
    first, last = told
    assert (first["stage"], first["step"], first["model"], first["terms"]) == (
        "learn",
        0,
        "model",
        {},
    )
    assert (last["stage"], last["model"], last["accuracy"]) == ("chosen", "m", 0.6)
    assert (last["reward"], last["terms"], last["step"]) == (0.5, {"accuracy": 0.5}, None)


@pytest.mark.parametrize("guard", ["accuracy", "balanced"])
def test_masks_that_were_remembered_were_asked_and_not_computed(
    guard: Guard, told: Told, tiny_model: Any, tiny_data: Any
) -> None:
    plain = MaskEvaluator(tiny_model.model, tiny_model.tokenizer, tiny_data, precision="fp32")
    evaluator = guard_evaluator(plain, guard)
    masks = np.ones((1, 2, 4), bool)
    for _ in range(3):
        evaluator.accuracy(masks)
    tell_counts(evaluator)
    assert list(told) == [{"asked": 3, "computed": 1}]
    evaluator.accuracy(masks)
    tell_counts(evaluator)  # just now
    assert len(list(told)) == 1
    tell_counts(evaluator, last=True)
    assert list(told)[1:] == [{"asked": 4, "computed": 1}]
