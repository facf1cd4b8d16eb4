"""What an agent keeps of its episodes."""

import json

import numpy as np
import pytest

from prune_env.agents.record import Budget, Record, sum_terms


def _info(pruned: int) -> dict:
    mask = np.ones((2, 3), bool)
    mask.flat[:pruned] = False
    return {"mask": mask}


def _add(record: Record, total: float, pruned: int):
    return record.add(length=3, reward_terms={"a": total, "b": 0.0}, info=_info(pruned), figures={})


def test_the_first_of_equally_good_episodes_is_the_best():
    record = Record()
    since = [_add(record, total, k).since_best for k, total in enumerate([0.1, 0.3, 0.3, 0.2])]
    assert since == [0, 0, 1, 2]
    assert (record.best_return, record.best_episode, record.episodes) == (0.3, 2, 4)
    assert np.array_equal(record.best_mask, _info(1)["mask"])


@pytest.mark.parametrize("episodes", [0, 2])
def test_survives_json(episodes: int):
    record = Record(steps=7)
    for k in range(episodes):
        _add(record, k / 10, k)
    again = Record.from_state(json.loads(json.dumps(record.state())))
    assert again.state() == record.state()
    assert again.best_return == record.best_return


def test_terms_add_up():
    total: dict[str, float] = {}
    for value in (0.5, 0.25):
        sum_terms(total, {"reward_terms": {"sparsity": value, "accuracy": -value}})
    assert total == {"sparsity": 0.75, "accuracy": -0.75}


def test_a_budget_counts_from_now_on():
    class Evaluator:
        evaluations = 100

    budget, endless = Budget(Evaluator, 8), Budget(Evaluator, None)
    Evaluator.evaluations = 104
    assert (budget.share_spent, endless.share_spent) == (0.5, 0.0)
