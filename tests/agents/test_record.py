"""What an agent keeps of its episodes."""

import json

import numpy as np
import pytest

from prune_env.agents.record import Budget, LearningRecord, asked_masks, sum_terms
from prune_env.env.landscape import LandscapeEvaluator
from prune_env.env.pool import Pool
from prune_env.env.subject import Subject
from prune_env.evaluation.counting import CountingEvaluator


def _info(pruned: int, accuracy: float = 0.5) -> dict:
    mask = np.ones((2, 3), bool)
    mask.flat[:pruned] = False
    return {"mask": mask, "model": f"m{pruned}", "accuracy": accuracy, "evaluations": 2}


def _add(record: LearningRecord, total: float, pruned: int):
    return record.add(length=3, reward_terms={"a": total, "b": 0.0}, info=_info(pruned), figures={})


def test_the_first_of_equally_good_episodes_is_the_best():
    record = LearningRecord()
    since = [_add(record, total, k).since_best for k, total in enumerate([0.1, 0.3, 0.3, 0.2])]
    assert since == [0, 0, 1, 2]
    assert (record.best_return, record.best_episode, record.episodes) == (0.3, 2, 4)
    assert np.array_equal(record.best_mask, _info(1)["mask"])
    assert record.best_model == "m1"
    assert record.asked == 12  # each looked at two masks and the unpruned model


def test_of_equally_good_episodes_on_a_model_the_more_accurate_is_the_best():
    record = LearningRecord()
    for total, accuracy in ((0.3, 0.5), (0.3 + 1e-16, 0.4), (0.3 - 1e-16, 0.7), (0.2, 0.9)):
        info = {**_info(1, accuracy), "mask": np.full((2, 3), accuracy > 0.6)}
        report = record.add(length=1, reward_terms={"a": total}, info=info, figures={})
        assert report.new_best == (accuracy in (0.5, 0.7))
    assert (record.best_accuracy, record.best_episode, report.since_best) == (0.7, 1, 3)
    assert record.best_mask.all()
    elsewhere = {**_info(2, 0.8)}  # of another model, whose accuracy says nothing here
    assert not record.add(length=1, reward_terms={"a": 0.3}, info=elsewhere, figures={}).new_best
    assert LearningRecord.from_state(record.state()).best_accuracy == 0.7


def test_tests_are_counted_by_the_episodes_between_them():
    record = LearningRecord()
    since = []
    for total in (0.1, 0.3, 0.3, 0.2, 0.4):
        record.add_test(total, 50)
        since.append(record.since_best_test)
    assert since == [0, 0, 50, 100, 0]
    assert LearningRecord.from_state(record.state()).best_test == 0.4


@pytest.mark.parametrize("episodes", [0, 2])
def test_survives_json(episodes: int):
    record = LearningRecord(steps=7)
    for k in range(episodes):
        _add(record, k / 10, k)
    again = LearningRecord.from_state(json.loads(json.dumps(record.state())))
    assert again.state() == record.state()
    assert again.best_return == record.best_return


def test_terms_add_up():
    total: dict[str, float] = {}
    for value in (0.5, 0.25):
        sum_terms(total, {"reward_terms": {"sparsity": value, "accuracy": -value}})
    assert total == {"sparsity": 0.75, "accuracy": -0.75}


def test_a_budget_counts_from_now_on():
    pool = _pool(LandscapeEvaluator(2, 3, seed=0), LandscapeEvaluator(2, 3, seed=1))
    first, second = (board.subject.evaluator for board in pool.boards)
    first.accuracy(np.ones((5, 2, 3), bool))
    budget, endless = Budget(pool, 8), Budget(pool, None)
    first.accuracy(np.ones((1, 2, 3), bool))
    second.accuracy(np.ones((3, 2, 3), bool))
    assert (budget.share_spent, endless.share_spent, endless.spent) == (0.5, 0.0, 4)


def test_a_budget_of_counted_masks_goes_on_where_it_was_saved():
    masks = np.ones((4, 2, 3), bool)
    masks[np.arange(4), 0, np.arange(4) % 3] = False  # the fourth is the first again
    pool = _pool(CountingEvaluator(LandscapeEvaluator(2, 3)))
    before = Budget(pool, 8)
    pool.boards[0].subject.evaluator.accuracy(masks)
    assert before.spent == 3

    pool = _pool(CountingEvaluator(LandscapeEvaluator(2, 3)))
    after = Budget(pool, 8, before.state())
    pool.boards[0].subject.evaluator.accuracy(masks[:2])
    assert after.spent == 3
    assert np.array_equal(after.state()["asked.0"], before.state()["asked.0"])
    assert Budget(pool, 8, before.state()).spent == 3  # whatever was counted already
    assert asked_masks({"asked.0": masks, "weights": masks}).keys() == {"asked.0"}


def _pool(*evaluators):
    return Pool(
        [Subject(each, np.zeros((2, 3, 1)), ("a",), f"m{i}") for i, each in enumerate(evaluators)]
    )
