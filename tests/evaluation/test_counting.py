import numpy as np
import pytest

from prune_env.env.landscape import LandscapeEvaluator
from prune_env.errors import BudgetError
from prune_env.evaluation.counting import CountingEvaluator


def test_it_counts_distinct_masks_of_its_own_caller() -> None:
    shared = LandscapeEvaluator(layers=2, heads=3, seed=0)
    masks = np.ones((3, 2, 3), bool)
    masks[1, 0, 0] = False
    first, second = CountingEvaluator(shared), CountingEvaluator(shared)
    answers = first.accuracy(masks)  # two of the three are equal
    assert first.evaluations == 2
    assert np.array_equal(second.accuracy(masks), answers)
    assert second.evaluations == 2  # though the evaluator beneath remembered them
    assert second.evaluate(masks[:1]).accuracy[0] == answers[0]
    assert second.evaluations == 2


def test_it_refuses_what_its_budget_does_not_hold() -> None:
    evaluator = LandscapeEvaluator(layers=2, heads=3, seed=0)
    masks = np.ones((3, 2, 3), bool)
    masks[1, 0, 0] = masks[2, 1, 1] = False
    counting = CountingEvaluator(evaluator, budget=2)
    with pytest.raises(BudgetError, match="2"):
        counting.accuracy(masks)
    assert counting.evaluations == evaluator.evaluations == 0  # nothing was asked in part
    counting.accuracy(masks[:2])
    counting.evaluate(masks[[1, 0, 1]])  # known: they cost nothing
    with pytest.raises(BudgetError):
        counting.evaluate(masks[2:])
    assert counting.evaluations == 2
